#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grammar/ebnf.h"
#include "grammar/ebnf_rules.h"
#include "text/utf8.h"

namespace cachalot::grammar {
namespace {

class GbnfParser {
  public:
    explicit GbnfParser(std::string_view text) : reader_(text, limits_) {}

    GrammarPtr parse() {
        blanks(true);
        while (!reader_.done()) {
            const std::size_t place = reader_.place();
            const std::string name = reader_.name();
            if (name.empty()) reader_.fail_here("the name of a rule is missing");
            blanks(false);
            if (!reader_.take("::=")) reader_.fail_here("::= is missing behind the name of a rule");
            blanks(true);
            const std::size_t index = rules_.index(name, place);
            Expr expr = alternatives(false);
            if (!rules_.define(index, std::move(expr)))
                reader_.fail_at(place, "\"" + name + "\" is defined twice");
            if (!reader_.done() && reader_.peek() != '\n' && reader_.peek() != '\r')
                reader_.fail_here("something stands here that is no part of a rule");
            blanks(true);
        }
        return rules_.compile(reader_, "root", limits_);
    }

  private:
    // Blanks and comments; a rule goes on in the next line only inside brackets and behind |.
    void blanks(bool lines) {
        while (true) {
            const char c = reader_.peek();
            if (c == '#') {
                while (!reader_.done() && reader_.peek() != '\n') reader_.next();
            } else if (!reader_.done() && (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))) {
                reader_.next();
            } else {
                return;
            }
        }
    }

    // A line that begins with | goes on with the rule before it.
    void blanks_before_bar() {
        const std::size_t place = reader_.place();
        blanks(true);
        if (reader_.peek() != '|') reader_.back_to(place);
    }

    Expr alternatives(bool in_brackets) {
        reader_.enter();
        std::vector<Expr> all;
        do {
            blanks(in_brackets || !all.empty());
            all.push_back(sequence(in_brackets));
            blanks_before_bar();
        } while (reader_.take("|"));
        reader_.leave();
        return Expr::one_of(std::move(all));
    }

    Expr sequence(bool in_brackets) {
        std::vector<Expr> parts;
        while (true) {
            auto part = item();
            if (!part) break;
            blanks(in_brackets);
            while (repetition(*part)) blanks(in_brackets);
            parts.push_back(std::move(*part));
        }
        return Expr::all_of(std::move(parts));
    }

    bool repetition(Expr& part) {
        std::uint32_t least = 0, most = kNoLimit;
        if (reader_.take("?")) {
            most = 1;
        } else if (reader_.take("+")) {
            least = 1;
        } else if (reader_.take("{")) {
            reader_.times(",", least, most);
            if (!reader_.take("}")) reader_.fail_here("} is missing");
        } else if (!reader_.take("*")) {
            return false;
        }
        part = Expr::repeated(std::move(part), least, most);
        return true;
    }

    std::optional<Expr> item() {
        const std::size_t place = reader_.place();
        if (reader_.take("\"")) return literal(place);
        if (reader_.take("[")) return char_class(place);
        if (reader_.take(".")) return Expr::of(CharSet::all());
        if (reader_.take("(")) {
            blanks(true);
            Expr inner = alternatives(true);
            blanks(true);
            if (!reader_.take(")")) reader_.fail_at(place, "a ( lacks its )");
            return inner;
        }
        if (reader_.peek() == '<' || reader_.peek() == '!')
            reader_.fail_here("tokens are not supported; write their text");
        const std::string name = reader_.name();
        if (name.empty()) return std::nullopt;
        return Expr::of_rule(rules_.index(name, place));
    }

    Expr literal(std::size_t place) {
        std::string text;
        while (!reader_.take("\"")) {
            if (reader_.done() || reader_.peek() == '\n') reader_.fail_at(place, "a \" lacks its end");
            append_utf8(text, reader_.take("\\") ? reader_.escaped() : reader_.next_character());
        }
        return Expr::of(std::move(text));
    }

    Expr char_class(std::size_t place) {
        const bool inverted = reader_.take("^");
        CharSet set;
        const auto member = [&] {
            if (reader_.done()) reader_.fail_at(place, "a [ lacks its ]");
            return reader_.take("\\") ? reader_.escaped() : reader_.next_character();
        };
        while (!reader_.take("]")) {
            const char32_t low = member();
            char32_t high = low;
            if (reader_.peek() == '-' && reader_.peek(1) != ']') {
                reader_.next();
                high = member();
            }
            if (high < low) reader_.fail_at(place, "the ends of a range are the wrong way round");
            set.add(low, high);
        }
        return Expr::of(inverted ? set.inverted() : set);
    }

    Limits limits_;
    EbnfReader reader_;
    EbnfRules rules_;
};

}  // namespace

GrammarPtr compile_gbnf(std::string_view text) { return GbnfParser(text).parse(); }

}  // namespace cachalot::grammar
