// What the interface gives to its caller: memory that cachalot_free() takes back.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>

#include "capi/error.h"

namespace cachalot::capi {

// The bytes, and a zero behind them. Throws std::bad_alloc.
inline void* copy_out(std::span<const std::byte> bytes) {
    auto* out = static_cast<char*>(std::malloc(bytes.size() + 1));
    if (!out) throw std::bad_alloc();
    if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
    out[bytes.size()] = 0;
    return out;
}

inline cachalot_text text_out(std::string_view text) {
    return {static_cast<char*>(copy_out(std::as_bytes(std::span(text)))), text.size()};
}

inline cachalot_tokens tokens_out(std::span<const std::int32_t> tokens) {
    return {static_cast<std::int32_t*>(copy_out(std::as_bytes(tokens))), tokens.size()};
}

}  // namespace cachalot::capi
