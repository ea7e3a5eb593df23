// Where an answer is in a grammar.
#pragma once

#include <memory>

namespace cachalot::grammar {

struct State;
class Arena;

struct Position {
    std::shared_ptr<Arena> arena;  // which holds the state
    const State* state = nullptr;  // null: nothing in the language begins like the text so far
};

}  // namespace cachalot::grammar
