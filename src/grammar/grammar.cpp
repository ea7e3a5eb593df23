#include "grammar/grammar.h"

#include "grammar/states.h"

namespace cachalot::grammar {

Grammar::Grammar(std::unique_ptr<const Program> program)
    : program_(std::move(program)), states_(std::make_unique<States>(*program_)) {}

Grammar::~Grammar() = default;

bool matches(const Grammar& grammar, std::string_view text) {
    Position at = grammar.states().begin();
    for (const char c : text) {
        const auto symbol = static_cast<Symbol>(static_cast<unsigned char>(c));
        at = grammar.states().next(at, {&symbol, 1});
        if (!at.state) return false;
    }
    return at.state->ends;
}

}  // namespace cachalot::grammar
