// One of several texts.
#pragma once

#include <span>
#include <string>

#include "grammar/grammar.h"

namespace cachalot::grammar {

// Throws GrammarError if there is none, or one is empty.
GrammarPtr compile_choice(std::span<const std::string> choices);

}  // namespace cachalot::grammar
