#include "prefix/token_chain.h"

#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::uint64_t kPrefixTag =
    1;  // else a prefix of whole blocks would have the name of its last block

ChainKey chained(const ChainKey& key, std::span<const std::int32_t> tokens, std::uint64_t tag) {
    std::vector<std::byte> bytes(key.begin(), key.end());
    auto data = std::as_bytes(tokens);
    bytes.insert(bytes.end(), data.begin(), data.end());
    return hash128(bytes, tag);
}

}  // namespace

TokenChain::TokenChain(const ChainKey& model, std::string_view space, std::span<const std::int32_t> tokens)
    : tokens_(tokens) {
    std::vector<std::byte> root(model.begin(), model.end());
    auto name = std::as_bytes(std::span(space));
    root.insert(root.end(), name.begin(), name.end());
    keys_.push_back(hash128(root));
    for (std::int64_t begin = 0; begin + kBlock <= size(); begin += kBlock)
        keys_.push_back(chained(keys_.back(), this->tokens(begin, begin + kBlock), 0));
}

ChainKey TokenChain::prefix(std::int64_t length) const {
    CACHALOT_CHECK(length >= 0 && length <= size());
    const auto whole = length / kBlock;
    return chained(block(whole), tokens(whole * kBlock, length), kPrefixTag);
}

}  // namespace cachalot
