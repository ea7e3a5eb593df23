#include "grammar/expr.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot::grammar {

Expr Expr::all_of(std::vector<Expr> parts) {
    if (parts.size() == 1) return std::move(parts.front());
    return {.kind = sequence, .parts = std::move(parts)};
}

Expr Expr::one_of(std::vector<Expr> parts) {
    if (parts.size() == 1) return std::move(parts.front());
    return {.kind = choice, .parts = std::move(parts)};
}

Expr Expr::repeated(Expr what, std::uint32_t least, std::uint32_t most) {
    Expr expr{.kind = repeat, .least = least, .most = most};
    expr.parts.push_back(std::move(what));
    return expr;
}

bool Expr::has_places() const {
    return kind == begin || kind == end ||
           std::any_of(parts.begin(), parts.end(), [](const Expr& part) { return part.has_places(); });
}

namespace {

void write_repeat(Builder& builder, NodeId from, NodeId to, const Expr& expr,
                  const std::vector<RuleId>& rules) {
    const Expr& what = expr.parts.front();
    if (expr.most == 0) return builder.skip(from, to);
    if (expr.most == 1 || (expr.most == kNoLimit && expr.least <= 1)) {
        const NodeId first = builder.node(), last = builder.node();
        builder.skip(from, first);
        write(builder, first, last, what, rules);
        builder.skip(last, to);
        if (expr.most == kNoLimit) builder.skip(last, first);
        if (expr.least == 0) builder.skip(from, to);
        return;
    }
    const RuleId body = builder.rule();
    write(builder, builder.begin(body), builder.end(body), what, rules);
    builder.repeat(from, to, body, expr.least, expr.most);
}

}  // namespace

void write(Builder& builder, NodeId from, NodeId to, const Expr& expr, const std::vector<RuleId>& rules) {
    switch (expr.kind) {
        case Expr::characters: return builder.characters(from, to, expr.set);
        case Expr::text: return builder.text(from, to, expr.bytes);
        case Expr::rule: return builder.call(from, to, rules.at(expr.index));
        case Expr::repeat: return write_repeat(builder, from, to, expr, rules);
        case Expr::choice:
            for (const Expr& part : expr.parts) write(builder, from, to, part, rules);
            return;
        case Expr::sequence:
            for (const Expr& part : expr.parts) {
                const NodeId next = builder.node();
                write(builder, from, next, part, rules);
                from = next;
            }
            return builder.skip(from, to);
        default: CACHALOT_CHECK(!"a place in the text is no part of a grammar");
    }
}

}  // namespace cachalot::grammar
