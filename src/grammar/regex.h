// Regular expressions as grammars: the regular part of what JavaScript understands with the flag `u`.
//
// Understood: literals, `.`, classes with \d \w \s \D \W \S and \p{...} (general categories), escapes, groups
// (capturing, named or not), alternatives, * + ? {m,n} (also lazy: the language is the same), ^ and $.
// Refused, because they are not regular or not worth their price: back references, look-around, \b.
#pragma once

#include <string_view>

#include "grammar/grammar.h"

namespace cachalot::grammar {

// The whole answer matches. Throws GrammarError naming the column.
GrammarPtr compile_regex(std::string_view pattern);

}  // namespace cachalot::grammar
