// Structures that begin with their own size, so that they may grow from one version of the interface to the
// next.
//
// The caller's structure may be of an older version, whose missing members have their defaults, or of a newer
// one, whose further members must be zero: what this library does not know it cannot do.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "capi/error.h"

namespace cachalot::capi {

// The size of a structure whose last member is this one: what the first version of the interface ended with.
#define CACHALOT_SIZE_UP_TO(type, member) (offsetof(type, member) + sizeof(type::member))

// For an init function: sets the members that the caller has, and whatever lies behind them to zero.
template <class T>
void init_sized(T* given, std::size_t size, T defaults) noexcept {
    if (!given || size < sizeof(std::size_t)) return;
    std::memset(static_cast<void*>(given), 0, size);
    defaults.size = size;
    std::memcpy(static_cast<void*>(given), &defaults, std::min(size, sizeof(T)));
}

// What the caller has set. `first`: the size of the structure's first version. Throws CapiError.
template <class T>
T read_sized(const T* given, const T& defaults, std::size_t first, const char* name) {
    const std::size_t size = given->size;
    if (size < first) invalid("{}.size is {}: it was not set up by its init function", name, size);
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
    if (size < first) invalid("{}->size is {}: set it to the size of the structure", name, size);
    std::memset(static_cast<void*>(out), 0, size);
    std::memcpy(static_cast<void*>(out), &value, std::min(size, sizeof(T)));
    out->size = size;
}

}  // namespace cachalot::capi
