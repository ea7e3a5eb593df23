// Errors that a user can act on.
//
// The library reports every problem caused by the outside world (a file, a request, the machine) by throwing
// `Error`, whose message names the file, tensor, field or offset. It never prints, exits or aborts.
// `InternalError` marks our own mistakes: an assertion that failed. Either ends what was asked for and
// nothing else: a command, a request, a call of the C API; work that nobody waits for tells its Log.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace cachalot {

class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

class InternalError : public std::logic_error {
  public:
    using std::logic_error::logic_error;
};

// Throws Error with a formatted message: fail("{}: tensor {} is truncated", path, name).
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
    throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// An assertion that stays on in release builds. For invariants of ours, never for input.
#define CACHALOT_CHECK(condition)                                                                      \
    do {                                                                                               \
        if (!(condition))                                                                              \
            throw ::cachalot::InternalError(fmt::format("{}:{}: {}", __FILE__, __LINE__, #condition)); \
    } while (false)

}  // namespace cachalot
