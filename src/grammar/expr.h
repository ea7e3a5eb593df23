// Expressions: what regular expressions and EBNF have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "grammar/builder.h"
#include "grammar/char_set.h"

namespace cachalot::grammar {

struct Expr {
    enum Kind {
        characters,  // one of a set
        text,        // in UTF-8
        sequence,
        choice,
        repeat,
        rule,
        begin,  // of the text: reads nothing
        end,    // of the text
    };

    Kind kind = sequence;
    CharSet set = {};
    std::string bytes = {};
    std::vector<Expr> parts = {};  // of a sequence, a choice; what is repeated
    std::uint32_t least = 0, most = 0;
    std::size_t index = 0;  // of a rule

    static Expr of(CharSet set) { return {.kind = characters, .set = std::move(set)}; }
    static Expr of(std::string bytes) { return {.kind = text, .bytes = std::move(bytes)}; }
    static Expr of_rule(std::size_t index) { return {.kind = rule, .index = index}; }
    static Expr all_of(std::vector<Expr> parts);
    static Expr one_of(std::vector<Expr> parts);
    static Expr repeated(Expr what, std::uint32_t least, std::uint32_t most);

    bool has_places() const;  // `begin` or `end` somewhere
};

// The most times that are counted.
inline constexpr std::uint32_t kMostTimes = 1'000'000;

// Writes an expression without `begin` and `end`. `rules`: by Expr::index.
void write(Builder& builder, NodeId from, NodeId to, const Expr& expr, const std::vector<RuleId>& rules);

}  // namespace cachalot::grammar
