// The error of which nothing is to blame but that there is not so much memory: what was asked for may succeed
// later, or with less.
#pragma once

#include "base/error.h"

namespace cachalot {

// Its message says how much was wanted.
class OutOfMemory : public Error {
  public:
    using Error::Error;
};

}  // namespace cachalot
