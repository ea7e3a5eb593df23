// What the interface gives to its caller: memory that cachalot_free() takes back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "capi/error.h"

namespace cachalot::capi {

struct FreeBlock {
    void operator()(std::byte* block) const { std::free(block); }
};
using Block = std::unique_ptr<std::byte[], FreeBlock>;

// Contents undefined. Throws std::bad_alloc.
inline Block new_block(std::size_t bytes) {
    Block block(static_cast<std::byte*>(std::malloc(std::max<std::size_t>(bytes, 1))));
    if (!block) throw std::bad_alloc();
    return block;
}

// The bytes, and a zero behind them. Throws std::bad_alloc.
inline void* copy_out(std::span<const std::byte> bytes) {
    auto out = new_block(bytes.size() + 1);
    if (!bytes.empty()) std::memcpy(out.get(), bytes.data(), bytes.size());
    out[bytes.size()] = {};
    return out.release();
}

inline cachalot_text text_out(std::string_view text) {
    return {static_cast<char*>(copy_out(std::as_bytes(std::span(text)))), text.size()};
}

inline cachalot_tokens tokens_out(std::span<const std::int32_t> tokens) {
    return {static_cast<std::int32_t*>(copy_out(std::as_bytes(tokens))), tokens.size()};
}

}  // namespace cachalot::capi
