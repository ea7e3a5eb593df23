// The vocabulary as a tree of bytes: tokens that begin alike are looked at together.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace cachalot::grammar {

// The tokens are in two trees, of short ones and of long ones. Nearly all are short, and what they can be does
// not depend on what lies further ahead than they reach (state_store.h). The last reach is that of any token
// in the vocabularies of this family; a longer one makes masks slower, and not wrong.
inline constexpr std::array<std::size_t, 2> kReaches = {16, 128};

// Immutable, shared between threads.
class TokenTrie {
  public:
    // In depth-first order: a node's subtree follows it directly and ends before `end`.
    struct Node {
        std::uint32_t end;
        std::int32_t token;  // whose bytes are those on the way to this node; -1: none
        std::uint8_t byte;
        std::uint16_t depth;  // bytes on the way, this one included
    };

    // Of text tokens with these bytes, and for all that is not a text token with no bytes.
    TokenTrie(std::vector<std::string_view> bytes, const Tokenizer* tokenizer);

    // Of tokens of up to kReaches[part] bytes that no earlier part has; the last part has all others.
    const std::vector<Node>& nodes(std::size_t part) const { return nodes_[part]; }
    std::size_t vocabulary() const { return bytes_.size(); }
    std::size_t longest() const { return longest_; }  // token, in bytes
    // Empty for tokens that are not text.
    std::string_view bytes(std::int32_t token) const;
    // Further tokens with the same bytes as the first of a pair, which is in a tree.
    const std::vector<std::pair<std::int32_t, std::int32_t>>& doubles() const { return doubles_; }
    const Tokenizer* tokenizer() const { return tokenizer_; }  // null: none, in tests

  private:
    std::vector<std::string_view> bytes_;  // [vocabulary]
    void build(std::vector<Node>& nodes, const std::vector<std::int32_t>& sorted);

    std::array<std::vector<Node>, kReaches.size()> nodes_;
    std::vector<std::pair<std::int32_t, std::int32_t>> doubles_;
    std::size_t longest_ = 0;
    const Tokenizer* tokenizer_;
};

// Special tokens are not text. The tokenizer must stay where it is for as long as the tree lives.
std::shared_ptr<const TokenTrie> make_token_trie(const Tokenizer& tokenizer);

}  // namespace cachalot::grammar
