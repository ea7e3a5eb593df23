#include "grammar/regex.h"

#include "grammar/builder.h"
#include "grammar/char_automaton.h"

namespace cachalot::grammar {
namespace {

// At the ends of a pattern that has to match the whole text they say nothing.
void drop_outer_places(Expr& expr) {
    if (expr.kind != Expr::sequence) return;
    auto& parts = expr.parts;
    while (!parts.empty() && parts.front().kind == Expr::begin) parts.erase(parts.begin());
    while (!parts.empty() && parts.back().kind == Expr::end) parts.pop_back();
}

}  // namespace

GrammarPtr compile_regex(std::string_view pattern) {
    const Limits limits;
    Regex regex = parse_regex(pattern);
    drop_outer_places(regex.main);
    Builder builder(limits);
    const RuleId whole = builder.rule("pattern");
    if (regex.ahead.empty() && !regex.main.has_places())
        write(builder, builder.begin(whole), builder.end(whole), regex.main, {});
    else
        CharAutomaton::of(regex, CharAutomaton::Where::whole, limits.products)
            .write(builder, builder.begin(whole), builder.end(whole), CharAutomaton::As::utf8);
    return builder.finish();
}

}  // namespace cachalot::grammar
