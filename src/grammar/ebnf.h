// Context-free grammars as text, in the two notations that clients send.
//
// GBNF is llama.cpp's: `root ::= "a" [0-9]+ | item{2,3}`. All of it is understood but tokens (`<[123]>`).
//
// Lark's notation is that of OpenAI's custom tools: `start: item ("," item)*`, terminals in capitals, regular
// expressions between slashes, `%ignore`, `%import common.NAME`. A text is in the language if some division
// into terminals is; Lark's lexer, which takes the longest terminal, would refuse some of these. Templates,
// `%extend`, `%override` and `%declare` are refused.
//
// A rule may begin with itself (`sum: sum "+" term | term`); a longer way from a rule back to itself without
// any text in between is refused.
#pragma once

#include <string_view>

#include "grammar/grammar.h"

namespace cachalot::grammar {

// Throw GrammarError naming line and column. The rules that stand for the whole are `root` and `start`.
GrammarPtr compile_gbnf(std::string_view text);
GrammarPtr compile_lark(std::string_view text);

// GBNF if a rule is defined with `::=`, else Lark.
GrammarPtr compile_ebnf(std::string_view text);

}  // namespace cachalot::grammar
