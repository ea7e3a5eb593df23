// Structures that begin with their own size, so that they may grow from one version of the interface to the
// next.
//
// The caller's structure may be of an older version, whose missing members have their defaults, or of a newer
// one, whose further members must be zero: what this library does not know it cannot do. A size that no
// version can have was never set; it is not followed into memory that may not be the caller's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "capi/error.h"

namespace cachalot::capi {

// The size of a structure whose last member is this one: what the first version of the interface ended with.
#define CACHALOT_SIZE_UP_TO(type, member) (offsetof(type, member) + sizeof(type::member))

constexpr std::size_t kLargestSize = 4096;

// Throws CapiError.
inline void check_size(std::size_t size, std::size_t first, const char* name, const char* remedy) {
    if (size < first || size > kLargestSize)
        invalid("{}.size is {}, not {} to {}: {}", name, size, first, kLargestSize, remedy);
}

// For an init function: sets the members that the caller has, and whatever lies behind them to zero. Of a
// size that no version has it sets only the size, to 0, which the structure is refused for where it is used.
template <class T>
void init_sized(T* given, std::size_t size, T defaults) noexcept {
    static_assert(sizeof(T) <= kLargestSize);
    if (!given || size < sizeof(std::size_t)) return;
    if (size > kLargestSize) {
        given->size = 0;
        return;
    }
    std::memset(static_cast<void*>(given), 0, size);
    defaults.size = size;
    std::memcpy(static_cast<void*>(given), &defaults, std::min(size, sizeof(T)));
}

// What the caller has set. `first`: the size of the structure's first version. Throws CapiError.
template <class T>
T read_sized(const T* given, const T& defaults, std::size_t first, const char* name) {
    const std::size_t size = given->size;
    check_size(size, first, name, "set the structure up by its init function, with its sizeof");
    const auto* bytes = reinterpret_cast<const unsigned char*>(given);
    if (size > sizeof(T) &&
        std::any_of(bytes + sizeof(T), bytes + size, [](unsigned char c) { return c != 0; }))
        invalid("{} has members that this version of the library, {}, does not know", name,
                cachalot_version());
    T read = defaults;
    std::memcpy(static_cast<void*>(&read), given, std::min(size, sizeof(T)));
    return read;
}

// Gives the caller the members that he has room for. Throws CapiError.
template <class T>
void write_sized(T* out, const T& value, std::size_t first, const char* name) {
    const std::size_t size = out->size;
    check_size(size, first, name, "set it to the sizeof of the structure");
    std::memset(static_cast<void*>(out), 0, size);
    std::memcpy(static_cast<void*>(out), &value, std::min(size, sizeof(T)));
    out->size = size;
}

}  // namespace cachalot::capi
