// Reading regular expressions (regex.h).
#pragma once

#include <string_view>
#include <vector>

#include "grammar/expr.h"

namespace cachalot::grammar {

struct Regex {
    struct Ahead {
        Expr what;
        bool negative;
    };
    Expr main;
    // Conditions on the whole text from its beginning: `^(?!...)(?=...)` before everything else.
    std::vector<Ahead> ahead;
};

struct RegexFlags {
    bool any_case = false;    // i, of ASCII letters
    bool dot_is_all = false;  // s
};

// Throws GrammarError naming the column. `nesting`: the most groups in one another.
Regex parse_regex(std::string_view pattern, RegexFlags flags = {}, std::size_t nesting = Limits().nesting);

}  // namespace cachalot::grammar
