// Finite automata over characters: patterns, while they are combined with other conditions on the same
// string.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/builder.h"
#include "grammar/char_set.h"
#include "grammar/regex_parser.h"

namespace cachalot::grammar {

class CharAutomaton {
  public:
    struct Edge {
        CharSet set;
        std::uint32_t to;
    };
    struct Node {
        std::vector<Edge> edges = {};
        std::vector<std::uint32_t> skips = {};
        bool accepts = false;
    };
    enum class Where { whole, anywhere };  // what a pattern matches: the text, or a part of it

    // Functions that make an automaton throw GrammarError if it has more than `most` nodes.

    static CharAutomaton of(const Regex& regex, Where where, std::size_t most);
    // From `least` to `longest` characters (kNoLimit: any number).
    static CharAutomaton of_length(std::uint32_t least, std::uint32_t longest, std::size_t most);
    static CharAutomaton of_texts(const std::vector<std::string>& texts, std::size_t most);
    static CharAutomaton both(const CharAutomaton& a, const CharAutomaton& b, std::size_t most);

    CharAutomaton inverted(std::size_t most) const;
    bool empty() const;  // accepts nothing
    std::size_t size() const { return nodes_.size(); }
    bool accepts(std::string_view text) const;

    enum class As {
        utf8,
        json,  // between quotes, escaped where that is necessary
    };
    void write(Builder& builder, NodeId from, NodeId to, As as) const;

  private:
    friend class CharAutomatonMaker;
    CharAutomaton determinised(std::size_t most) const;
    void close(std::vector<std::uint32_t>& set) const;

    std::vector<Node> nodes_;  // the first is where texts begin
};

}  // namespace cachalot::grammar
