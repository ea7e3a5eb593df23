// The automaton that grammars are compiled to: a recursive transition network over bytes.
//
// It has nodes and edges, and rules: parts of it with a beginning and an end. An edge
//
//   text    reads one symbol of a range: a byte, or a mark (below),
//   skip    reads nothing,
//   call    reads whatever a rule reads, and goes on behind the edge when the rule's end is reached,
//   repeat  does the same a number of times. How often is counted while the text is read, so that a limit of
//           a million costs no more than one of ten.
//
// A mark is a token that no text can produce, such as the one in the tags of calls. Its symbol is kFirstMark
// and up.
//
// What the builder guarantees: from every node that edges lead to, some end is reached; a rule never calls
// itself again before something is read; what a repeat edge repeats reads something.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cachalot::grammar {

using Symbol = std::uint16_t;
inline constexpr Symbol kFirstMark = 256;
inline constexpr std::size_t kSymbols = kFirstMark + 4;

using NodeId = std::uint32_t;
using RuleId = std::uint32_t;

struct Edge {
    enum Kind : std::uint8_t { text, skip, call, repeat };

    Kind kind;
    Symbol low = 0, high = 0;  // text: from low to high
    NodeId to = 0;
    std::uint32_t what = 0;  // call: the rule; repeat: the index in Program::repeats
};

inline constexpr std::uint32_t kNoLimit = ~std::uint32_t{0};

struct Repeat {
    RuleId rule;
    std::uint32_t least, most;  // most: kNoLimit, or at least 1 and `least`
};

struct Rule {
    NodeId begin = 0, end = 0;
    std::uint32_t order = 0;  // a rule has a smaller one than those which it may call before it has read
    bool empty = false;       // its end can be reached without reading
};

struct Program {
    struct Node {
        std::uint32_t first_edge = 0, edges = 0;
        bool is_end = false;   // of a rule
        bool is_tail = false;  // without reading, it leads to the end of its rule, and nowhere else
    };

    std::vector<Node> nodes;
    std::vector<Edge> edges;  // by node
    std::vector<Repeat> repeats;
    std::vector<Rule> rules;  // the first is the whole

    // Symbols that no edge tells apart are of one class.
    std::array<std::uint16_t, kSymbols> classes{};
    std::uint32_t class_count = 0;
    std::array<Symbol, kSymbols> class_symbol{};  // one of the class
};

}  // namespace cachalot::grammar
