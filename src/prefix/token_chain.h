// Names for prefixes: a hash for every whole block of tokens, each over the one before it.
//
//     root = hash(what the model computes, namespace)
//     K[i] = hash(K[i-1], the tokens of block i)           the first i blocks
//     S    = hash(K[i], the tokens beyond them, a tag)     a prefix that ends within block i + 1
//
// So a name stands for all tokens from the beginning, and two models or two namespaces have no name in
// common. The hash is fast, not cryptographic: whoever finds a record by its name compares the tokens.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace cachalot {

using ChainKey = Hash128;

class TokenChain {
  public:
    static constexpr std::int64_t kBlock = 256;  // tokens; a multiple of every compressor's ratio

    TokenChain(const ChainKey& model, std::string_view space, std::span<const std::int32_t> tokens);

    std::int64_t blocks() const { return static_cast<std::int64_t>(keys_.size()) - 1; }
    const ChainKey& block(std::int64_t i) const { return keys_[static_cast<std::size_t>(i)]; }  // 0: the root
    ChainKey prefix(std::int64_t length) const;

    std::span<const std::int32_t> tokens(std::int64_t begin, std::int64_t end) const {
        return tokens_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    }
    std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }

  private:
    std::span<const std::int32_t> tokens_;
    std::vector<ChainKey> keys_;
};

}  // namespace cachalot
