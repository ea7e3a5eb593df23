// Lark's notation without a lexer: terminals are rules like others, and what %ignore names may stand behind
// every terminal of a rule, and at the beginning.

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grammar/ebnf.h"
#include "grammar/ebnf_rules.h"
#include "grammar/regex_parser.h"
#include "text/utf8.h"

namespace cachalot::grammar {
namespace {

// The terminals of Lark's module `common`.
constexpr std::array<std::pair<std::string_view, std::string_view>, 25> kCommon = {{
    {"DIGIT", R"([0-9])"},
    {"HEXDIGIT", R"([0-9a-fA-F])"},
    {"INT", R"([0-9]+)"},
    {"SIGNED_INT", R"([+-]?[0-9]+)"},
    {"DECIMAL", R"([0-9]+\.[0-9]*|\.[0-9]+)"},
    {"FLOAT", R"([0-9]+[eE][+-]?[0-9]+|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)"},
    {"SIGNED_FLOAT", R"([+-]?([0-9]+[eE][+-]?[0-9]+|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?))"},
    {"NUMBER", R"([0-9]+([eE][+-]?[0-9]+)?|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)"},
    {"SIGNED_NUMBER", R"([+-]?([0-9]+([eE][+-]?[0-9]+)?|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?))"},
    {"ESCAPED_STRING", R"("([^"\\\n]|\\.)*")"},
    {"LCASE_LETTER", R"([a-z])"},
    {"UCASE_LETTER", R"([A-Z])"},
    {"LETTER", R"([a-zA-Z])"},
    {"WORD", R"([a-zA-Z]+)"},
    {"CNAME", R"([_a-zA-Z][_a-zA-Z0-9]*)"},
    {"WS_INLINE", R"([ \t]+)"},
    {"WS", R"([ \t\f\r\n]+)"},
    {"CR", R"(\r)"},
    {"LF", R"(\n)"},
    {"NEWLINE", R"((\r?\n)+)"},
    {"SH_COMMENT", R"(#[^\n]*)"},
    {"CPP_COMMENT", R"(\/\/[^\n]*)"},
    {"C_COMMENT", R"(\/\*([^*]|\*+[^*\/])*\*+\/)"},
    {"SQL_COMMENT", R"(--[^\n]*)"},
    {"_STRING_INNER", R"([^"\\\n]*)"},
}};

bool is_terminal(std::string_view name) {
    const auto letter = name.find_first_not_of('_');
    return letter != std::string_view::npos && name[letter] >= 'A' && name[letter] <= 'Z';
}

class LarkParser {
  public:
    explicit LarkParser(std::string_view text)
        : reader_(text, limits_), ignored_(rules_.index("%ignore", 0)) {}

    GrammarPtr parse() {
        for (blanks(true); !reader_.done(); blanks(true)) {
            if (reader_.peek() == '%')
                directive();
            else
                definition();
            blanks(false);
            if (!reader_.done() && reader_.peek() != '\n' && reader_.peek() != '\r')
                reader_.fail_here("something stands here that is no part of a rule");
        }
        rules_.define(ignored_, ignores_.empty()
                                    ? Expr{}
                                    : Expr::repeated(Expr::one_of(std::move(ignores_)), 0, kNoLimit));
        std::vector<Expr> whole;
        whole.push_back(Expr::of_rule(ignored_));
        whole.push_back(Expr::of_rule(rules_.index("start", 0)));
        rules_.define(rules_.index("%whole", 0), Expr::all_of(std::move(whole)));
        return rules_.compile(reader_, "%whole", limits_);
    }

  private:
    // Blanks and comments.
    void blanks(bool lines) {
        while (!reader_.done()) {
            const char c = reader_.peek();
            if (reader_.starts("//") || c == '#') {
                while (!reader_.done() && reader_.peek() != '\n') reader_.next();
            } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
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

    void definition() {
        while (reader_.take("?") || reader_.take("!")) {
        }
        const std::size_t place = reader_.place();
        const std::string name = reader_.name();
        if (name.empty()) reader_.fail_here("the name of a rule is missing");
        if (reader_.take("."))
            while (reader_.peek() == '-' || (reader_.peek() >= '0' && reader_.peek() <= '9')) reader_.next();
        blanks(false);
        if (reader_.peek() == '{') reader_.fail_here("templates are not supported; write the rule out");
        if (!reader_.take(":")) reader_.fail_here(": is missing behind the name of a rule");
        in_rule_ = !is_terminal(name);
        const std::size_t index = rules_.index(name, place);
        Expr expr = alternatives(false);
        if (!rules_.define(index, std::move(expr)))
            reader_.fail_at(place, "\"" + name + "\" is defined twice");
    }

    void directive() {
        const std::size_t place = reader_.place();
        if (reader_.take("%ignore")) {
            blanks(false);
            in_rule_ = false;
            ignores_.push_back(alternatives(false));
        } else if (reader_.take("%import")) {
            import();
        } else {
            reader_.fail_at(place, "only %ignore and %import are supported");
        }
    }

    void import() {
        blanks(false);
        if (!reader_.take("common")) reader_.fail_here("only the module \"common\" can be imported from");
        blanks(false);
        const bool is_list = reader_.take("(");
        if (!is_list && !reader_.take("."))
            reader_.fail_here("the name of a terminal is missing behind \"common\"");
        do {
            blanks(false);
            const std::size_t place = reader_.place();
            const std::string name = reader_.name();
            std::string as = name;
            blanks(false);
            if (!is_list && reader_.take("->")) {
                blanks(false);
                as = reader_.name();
            }
            import(place, name, as);
            blanks(false);
        } while (is_list && reader_.take(","));
        if (is_list && !reader_.take(")")) reader_.fail_here(") is missing");
    }

    void import(std::size_t place, const std::string& name, const std::string& as) {
        for (const auto& [known, pattern] : kCommon) {
            if (name != known) continue;
            if (!rules_.define(rules_.index(as, place), parse_regex(pattern).main))
                reader_.fail_at(place, "\"" + as + "\" is defined twice");
            return;
        }
        reader_.fail_at(place, "\"" + name + "\" is not a terminal of \"common\"");
    }

    Expr alternatives(bool in_brackets) {
        reader_.enter();
        std::vector<Expr> all;
        do {
            all.push_back(sequence(in_brackets));
            if (in_brackets)
                blanks(true);
            else
                blanks_before_bar();
        } while (reader_.take("|"));
        reader_.leave();
        return Expr::one_of(std::move(all));
    }

    Expr sequence(bool in_brackets) {
        std::vector<Expr> parts;
        while (true) {
            blanks(in_brackets);
            auto part = item();
            if (!part) break;
            if (repetition(*part))
                if (reader_.peek() == '?' || reader_.peek() == '*' || reader_.peek() == '+')
                    reader_.fail_here("repeats a repetition; use brackets");
            parts.push_back(std::move(*part));
        }
        if (reader_.take("->")) {
            blanks(false);
            reader_.name();
            blanks(in_brackets);
        }
        return Expr::all_of(std::move(parts));
    }

    bool repetition(Expr& part) {
        std::uint32_t least = 0, most = kNoLimit;
        const std::size_t place = reader_.place();
        if (reader_.take("?")) {
            most = 1;
        } else if (reader_.take("+")) {
            least = 1;
        } else if (!reader_.take("*")) {
            blanks(false);
            if (!reader_.take("~")) {
                reader_.back_to(place);
                return false;
            }
            reader_.times("..", least, most);
        }
        part = Expr::repeated(std::move(part), least, most);
        return true;
    }

    // In a rule, what is ignored may follow a terminal.
    Expr terminal(Expr expr) const {
        if (!in_rule_) return expr;
        std::vector<Expr> parts;
        parts.push_back(std::move(expr));
        parts.push_back(Expr::of_rule(ignored_));
        return Expr::all_of(std::move(parts));
    }

    std::optional<Expr> item() {
        const std::size_t place = reader_.place();
        if (reader_.peek() == '"') return literal(place);
        if (reader_.peek() == '/') return regex(place);
        for (const auto& [open, close] : {std::pair("(", ")"), std::pair("[", "]")}) {
            if (!reader_.take(open)) continue;
            Expr inner = alternatives(true);
            if (!reader_.take(close))
                reader_.fail_at(place, std::string("a ") + open + " lacks its " + close);
            return *open == '[' ? Expr::repeated(std::move(inner), 0, 1) : std::move(inner);
        }
        const std::string name = reader_.starts("->") ? "" : reader_.name();
        if (name.empty()) return std::nullopt;
        if (reader_.peek() == '{') reader_.fail_here("templates are not supported; write the rule out");
        Expr rule = Expr::of_rule(rules_.index(name, place));
        return is_terminal(name) ? terminal(std::move(rule)) : std::move(rule);
    }

    std::string quoted(std::size_t place) {
        reader_.next();
        std::string text;
        while (!reader_.take("\"")) {
            if (reader_.done() || reader_.peek() == '\n') reader_.fail_at(place, "a \" lacks its end");
            append_utf8(text, reader_.take("\\") ? reader_.escaped() : reader_.next_character());
        }
        return text;
    }

    Expr literal(std::size_t place) {
        const std::string text = quoted(place);
        if (reader_.starts("..") && reader_.peek(2) == '"') {
            reader_.take("..");
            const std::string last = quoted(place);
            const auto one = [](const std::string& s) {
                return !s.empty() && decode_utf8(s).length == s.size();
            };
            if (!one(text) || !one(last) || decode_utf8(text).code_point > decode_utf8(last).code_point)
                reader_.fail_at(place, "a range needs a single character at either end, the lower one first");
            return terminal(Expr::of(CharSet{{decode_utf8(text).code_point, decode_utf8(last).code_point}}));
        }
        const bool any_case = reader_.peek() == 'i';
        if (any_case) reader_.next();
        if (text.empty())
            reader_.fail_at(place, "an empty text is no terminal; use ? to make something optional");
        if (!any_case) return terminal(Expr::of(text));
        std::vector<Expr> letters;
        for (std::string_view left = text; !left.empty();) {
            const Utf8Char c = decode_utf8(left);
            left.remove_prefix(c.length);
            letters.push_back(Expr::of(CharSet::of(c.code_point).any_case()));
        }
        return terminal(Expr::all_of(std::move(letters)));
    }

    Expr regex(std::size_t place) {
        reader_.next();
        std::string pattern;
        while (reader_.peek() != '/') {
            if (reader_.done() || reader_.peek() == '\n')
                reader_.fail_at(place, "a regular expression lacks its /");
            if (reader_.peek() == '\\') pattern += reader_.next();
            if (reader_.done()) reader_.fail_at(place, "a regular expression lacks its /");
            pattern += reader_.next();
        }
        reader_.next();
        RegexFlags flags;
        for (char c = reader_.peek(); c >= 'a' && c <= 'z'; c = reader_.peek()) {
            if (c == 'x') reader_.fail_here("the flag x is not supported");
            flags.any_case |= c == 'i';
            flags.dot_is_all |= c == 's';
            reader_.next();
        }
        Regex parsed;
        try {
            parsed = parse_regex(pattern, flags);
        } catch (const GrammarError& error) {
            reader_.fail_at(place, error.what());
        }
        if (!parsed.ahead.empty() || parsed.main.has_places())
            reader_.fail_at(place, "^, $ and conditions are not supported in a grammar");
        return terminal(std::move(parsed.main));
    }

    Limits limits_;
    EbnfReader reader_;
    EbnfRules rules_;
    std::size_t ignored_;
    std::vector<Expr> ignores_;
    bool in_rule_ = false;
};

}  // namespace

GrammarPtr compile_lark(std::string_view text) { return LarkParser(text).parse(); }

}  // namespace cachalot::grammar
