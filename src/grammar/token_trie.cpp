#include "grammar/token_trie.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot::grammar {
namespace {

constexpr std::size_t kLongest = 0xFFFF;

}  // namespace

TokenTrie::TokenTrie(std::vector<std::string_view> bytes, const Tokenizer* tokenizer)
    : bytes_(std::move(bytes)), tokenizer_(tokenizer) {
    std::array<std::vector<std::int32_t>, kReaches.size()> sorted;
    for (std::size_t id = 0; id < bytes_.size(); ++id) {
        const std::size_t size = bytes_[id].size();
        if (size == 0) continue;
        CACHALOT_CHECK(size <= kLongest);
        longest_ = std::max(longest_, size);
        std::size_t part = 0;
        while (part + 1 < kReaches.size() && size > kReaches[part]) ++part;
        sorted[part].push_back(static_cast<std::int32_t>(id));
    }
    for (std::size_t part = 0; part < kReaches.size(); ++part) {
        std::sort(sorted[part].begin(), sorted[part].end(), [&](std::int32_t a, std::int32_t b) {
            return std::pair(this->bytes(a), a) < std::pair(this->bytes(b), b);
        });
        build(nodes_[part], sorted[part]);
    }
}

void TokenTrie::build(std::vector<Node>& nodes, const std::vector<std::int32_t>& sorted) {
    std::vector<std::size_t> path;  // the nodes on the way of the token before
    std::string_view before;
    for (const std::int32_t id : sorted) {
        const std::string_view text = bytes(id);
        if (text == before) {
            doubles_.emplace_back(nodes.back().token, id);
            continue;
        }
        const auto differs = std::mismatch(before.begin(), before.end(), text.begin(), text.end()).first;
        const auto common = static_cast<std::size_t>(differs - before.begin());
        for (; path.size() > common; path.pop_back())
            nodes[path.back()].end = static_cast<std::uint32_t>(nodes.size());
        for (std::size_t i = common; i < text.size(); ++i) {
            path.push_back(nodes.size());
            nodes.push_back({0, -1, static_cast<std::uint8_t>(text[i]), static_cast<std::uint16_t>(i + 1)});
        }
        nodes.back().token = id;
        before = text;
    }
    for (const std::size_t node : path) nodes[node].end = static_cast<std::uint32_t>(nodes.size());
}

std::string_view TokenTrie::bytes(std::int32_t token) const {
    CACHALOT_CHECK(token >= 0 && static_cast<std::size_t>(token) < bytes_.size());
    return bytes_[static_cast<std::size_t>(token)];
}

std::shared_ptr<const TokenTrie> make_token_trie(const Tokenizer& tokenizer) {
    std::vector<std::string_view> bytes(static_cast<std::size_t>(tokenizer.size()));
    for (std::int32_t id = 0; id < tokenizer.size(); ++id) {
        const auto type = static_cast<TokenType>(tokenizer.data().types[static_cast<std::size_t>(id)]);
        const bool is_text = type == TokenType::normal || type == TokenType::byte;
        if (is_text) bytes[static_cast<std::size_t>(id)] = tokenizer.bytes(id);
    }
    return std::make_shared<const TokenTrie>(std::move(bytes), &tokenizer);
}

}  // namespace cachalot::grammar
