// Arithmetic on sizes that come from a file or a request. `what` names the quantity in the error.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace cachalot {

template <class T>
T checked_mul(T a, T b, std::string_view what) {
    T result;
    if (__builtin_mul_overflow(a, b, &result)) fail("{}: {} * {} overflows", what, a, b);
    return result;
}

template <class T>
T checked_add(T a, T b, std::string_view what) {
    T result;
    if (__builtin_add_overflow(a, b, &result)) fail("{}: {} + {} overflows", what, a, b);
    return result;
}

// Converts between integer types; throws if the value does not survive.
template <class To, class From>
To checked_cast(From value, std::string_view what) {
    if (!std::in_range<To>(value)) fail("{}: {} is out of range", what, value);
    return static_cast<To>(value);
}

}  // namespace cachalot
