// The formats of strings, as patterns.
#pragma once

#include <string_view>

namespace cachalot::grammar {

// The regular expression of a format; null for those that are annotations.
const char* pattern_of_format(std::string_view format);

}  // namespace cachalot::grammar
