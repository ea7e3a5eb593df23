// What the two notations of EBNF have in common: rules by name, and a reader that knows line and column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/expr.h"
#include "grammar/grammar.h"

namespace cachalot::grammar {

class EbnfReader {
  public:
    // Throws GrammarError if the text is too long, or not UTF-8.
    EbnfReader(std::string_view text, const Limits& limits);

    bool done() const { return at_ == text_.size(); }
    char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
    bool starts(std::string_view what) const { return text_.substr(at_).starts_with(what); }
    bool take(std::string_view what);
    char next() { return text_[at_++]; }
    char32_t next_character();
    std::string name();  // letters, digits, _ and -; empty: none

    std::size_t place() const { return at_; }
    void back_to(std::size_t place) { at_ = place; }
    [[noreturn]] void fail_at(std::size_t place, std::string_view what) const;
    [[noreturn]] void fail_here(std::string_view what) const { fail_at(at_, what); }

    // {m}, {m,}, {,n} or {m,n} with `comma` between the numbers, without the brackets.
    void times(std::string_view comma, std::uint32_t& least, std::uint32_t& most);
    // The rest of an escape behind its backslash.
    char32_t escaped();

    void enter();  // one more bracket
    void leave() { --depth_; }

  private:
    std::optional<std::uint32_t> number();

    std::string_view text_;
    std::size_t at_ = 0, depth_ = 0, nesting_;
};

class EbnfRules {
  public:
    // The index of a rule that may be defined later; `place` is where it is named.
    std::size_t index(const std::string& name, std::size_t place);
    // False if it is defined already.
    bool define(std::size_t index, Expr expr);
    bool is_defined(std::size_t index) const { return rules_[index].defined; }
    // For parts that no name refers to.
    std::size_t add(Expr expr);
    const Expr& expr(std::size_t index) const { return rules_[index].expr; }

    // Throws GrammarError if a rule is missing.
    GrammarPtr compile(const EbnfReader& reader, const std::string& start, const Limits& limits);

  private:
    struct Rule {
        std::string name;
        std::size_t place;  // where it is named first
        bool defined = false;
        Expr expr = {};
    };
    std::vector<Rule> rules_;
    std::map<std::string, std::size_t, std::less<>> by_name_;
};

}  // namespace cachalot::grammar
