#include "grammar/ebnf_rules.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "grammar/ebnf.h"
#include "text/utf8.h"

namespace cachalot::grammar {
namespace {

bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

// rule: rule X | rule Y | A | B  is  (A | B) (X | Y)*
Expr without_left_recursion(std::size_t index, Expr expr) {
    std::vector<Expr> alternatives, first, again;
    if (expr.kind == Expr::choice)
        alternatives = std::move(expr.parts);
    else
        alternatives.push_back(std::move(expr));
    for (Expr& one : alternatives) {
        const auto calls_itself = [&](const Expr& part) {
            return part.kind == Expr::rule && part.index == index;
        };
        if (calls_itself(one)) continue;  // says nothing
        if (one.kind == Expr::sequence && !one.parts.empty() && calls_itself(one.parts.front())) {
            one.parts.erase(one.parts.begin());
            again.push_back(std::move(one));
        } else {
            first.push_back(std::move(one));
        }
    }
    Expr begin = Expr::one_of(std::move(first));  // of nothing: it never begins
    if (again.empty()) return begin;
    std::vector<Expr> parts;
    parts.push_back(std::move(begin));
    parts.push_back(Expr::repeated(Expr::one_of(std::move(again)), 0, kNoLimit));
    return Expr::all_of(std::move(parts));
}

}  // namespace

EbnfReader::EbnfReader(std::string_view text, const Limits& limits) : text_(text), nesting_(limits.nesting) {
    if (text.size() > limits.source_bytes)
        throw GrammarError(
            fmt::format("the grammar has more than {} bytes; make it smaller", limits.source_bytes));
    if (!is_valid_utf8(text)) throw GrammarError("the grammar is not valid UTF-8");
}

bool EbnfReader::take(std::string_view what) {
    if (!starts(what)) return false;
    at_ += what.size();
    return true;
}

char32_t EbnfReader::next_character() {
    const Utf8Char c = decode_utf8(text_.substr(at_));
    at_ += c.length;
    return c.code_point;
}

std::string EbnfReader::name() {
    const std::size_t begin = at_;
    while (is_name_char(peek()) && !starts("->")) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
}

void EbnfReader::fail_at(std::size_t place, std::string_view what) const {
    const std::string_view before = text_.substr(0, std::min(place, text_.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const std::size_t column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    throw GrammarError(fmt::format("the grammar, line {}, column {}: {}", line, column, what));
}

std::optional<std::uint32_t> EbnfReader::number() {
    while (take(" ")) {
    }
    if (peek() < '0' || peek() > '9') return std::nullopt;
    std::uint32_t value = 0;
    while (peek() >= '0' && peek() <= '9') {
        value = value * 10 + static_cast<std::uint32_t>(next() - '0');
        if (value > kMostTimes) fail_here(fmt::format("repeats more than {} times", kMostTimes));
    }
    while (take(" ")) {
    }
    return value;
}

void EbnfReader::times(std::string_view comma, std::uint32_t& least, std::uint32_t& most) {
    const std::size_t begin = at_;
    const auto first = number();
    least = first.value_or(0);
    if (take(comma)) {
        const auto last = number();
        most = last.value_or(kNoLimit);
        if (!first && !last) fail_at(begin, "a repetition lacks its numbers");
    } else {
        if (!first) fail_at(begin, "a repetition lacks its number");
        most = least;
    }
    if (least > most) fail_at(begin, "the limits of a repetition are the wrong way round");
}

char32_t EbnfReader::escaped() {
    const std::size_t begin = at_;
    if (done()) fail_here("a \\ stands at the end");
    const auto hex = [&](int digits) {
        char32_t value = 0;
        for (int i = 0; i < digits; ++i) {
            const char c = peek();
            const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
            if (!letter && !(c >= '0' && c <= '9')) fail_at(begin, "an escape lacks hexadecimal digits");
            value = value * 16 + static_cast<char32_t>(letter ? (c | 32) - 'a' + 10 : c - '0');
            ++at_;
        }
        if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
            fail_at(begin, "an escape stands for no character");
        return value;
    };
    const char32_t c = next_character();
    switch (c) {
        case 'n': return '\n';
        case 'r': return '\r';
        case 't': return '\t';
        case 'f': return '\f';
        case 'v': return '\v';
        case '0': return 0;
        case 'x': return hex(2);
        case 'u': return hex(4);
        case 'U': return hex(8);
        default: return c;
    }
}

void EbnfReader::enter() {
    if (++depth_ > nesting_) fail_here(fmt::format("more than {} brackets in one another", nesting_));
}

std::size_t EbnfRules::index(const std::string& name, std::size_t place) {
    const auto [found, fresh] = by_name_.try_emplace(name, rules_.size());
    if (fresh) rules_.push_back({name, place});
    return found->second;
}

bool EbnfRules::define(std::size_t index, Expr expr) {
    if (std::exchange(rules_[index].defined, true)) return false;
    rules_[index].expr = std::move(expr);
    return true;
}

std::size_t EbnfRules::add(Expr expr) {
    rules_.push_back({"", 0, true, std::move(expr)});
    return rules_.size() - 1;
}

GrammarPtr EbnfRules::compile(const EbnfReader& reader, const std::string& start, const Limits& limits) {
    for (const Rule& rule : rules_)
        if (!rule.defined) reader.fail_at(rule.place, fmt::format("\"{}\" is not defined", rule.name));
    const auto whole = by_name_.find(start);
    if (whole == by_name_.end())
        throw GrammarError(
            fmt::format("the grammar has no rule \"{}\", which stands for the whole text", start));
    Builder builder(limits);
    const RuleId first = builder.rule(start);
    std::vector<RuleId> ids;
    for (const Rule& rule : rules_) ids.push_back(builder.rule(rule.name));
    builder.call(builder.begin(first), builder.end(first), ids[whole->second]);
    for (std::size_t i = 0; i < rules_.size(); ++i) {
        const Expr expr = without_left_recursion(i, std::move(rules_[i].expr));
        write(builder, builder.begin(ids[i]), builder.end(ids[i]), expr, ids);
    }
    return builder.finish();
}

GrammarPtr compile_ebnf(std::string_view text) {
    return text.find("::=") != std::string_view::npos ? compile_gbnf(text) : compile_lark(text);
}

}  // namespace cachalot::grammar
