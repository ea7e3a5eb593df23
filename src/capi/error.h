// The border of the C interface: what is thrown inside becomes a status and a message outside.
#pragma once

#include <cachalot/cachalot.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "service/service.h"

namespace cachalot::capi {

// An error whose status is known.
class CapiError : public Error {
  public:
    CapiError(cachalot_status its_status, const std::string& message) : Error(message), status(its_status) {}
    cachalot_status status;
};

template <class... Arguments>
[[noreturn]] void invalid(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    throw CapiError(CACHALOT_INVALID, fmt::format(format, std::forward<Arguments>(arguments)...));
}

// Throws CapiError CACHALOT_INVALID, naming the argument.
void need(const void* argument, const char* name);

// The `count` elements of an argument. Throws CapiError CACHALOT_INVALID, naming it, if it is NULL and there
// are any, or for more than memory can hold: the number is none that anybody has counted.
template <class T>
std::span<const T> elements(const T* argument, std::size_t count, const char* name) {
    if (count > 0) need(argument, name);
    if (count > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T))
        invalid("{}: there cannot be {} of them in memory", name, count);
    return {argument, count};
}

// The same for a list of texts, none of which may be NULL.
std::vector<std::string> strings(const char* const* list, std::size_t count, const char* name);

// Of a member that is 0 or 1. Throws CapiError CACHALOT_INVALID for anything else.
bool flag(std::int32_t value, const char* name);

// `error` may be null. A message that is too long is cut between two characters. Returns the status.
cachalot_status report(cachalot_error* error, cachalot_status status, std::string_view message) noexcept;

// The same for an answer that failed or was refused: its cause, where there is one.
cachalot_status report(cachalot_error* error, const server::ApiError& failure) noexcept;

// The same for the exception that is being handled.
cachalot_status report_current(cachalot_error* error) noexcept;

// Does the work of a function of the interface. Nothing that it throws comes out of here.
template <class Work>
cachalot_status guarded(cachalot_error* error, const Work& work) noexcept {
    try {
        work();
        return report(error, CACHALOT_OK, {});
    } catch (...) {
        return report_current(error);
    }
}

// While one exists, this thread is in a callback of the user's.
class CallbackScope {
  public:
    CallbackScope() { ++depth_; }
    ~CallbackScope() { --depth_; }
    CallbackScope(const CallbackScope&) = delete;
    CallbackScope& operator=(const CallbackScope&) = delete;

    static bool active() { return depth_ > 0; }
    // Throws CapiError CACHALOT_INVALID in a callback: for functions that would wait for their own thread.
    static void refuse(const char* function);

  private:
    static thread_local int depth_;
};

}  // namespace cachalot::capi
