#include "grammar/regex_parser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "text/utf8.h"

namespace cachalot::grammar {
namespace {

constexpr std::size_t kLongestPattern = 1 << 16;
constexpr std::size_t kMostConditions = 8;

const CharSet kDigits = {{'0', '9'}};
const CharSet kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CharSet kSpace = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                        {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                        {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CharSet kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

std::optional<unsigned> hex_digit(char32_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return std::nullopt;
}

class RegexParser {
  public:
    RegexParser(std::string_view pattern, RegexFlags flags, std::size_t nesting)
        : flags_(flags), nesting_(nesting) {
        if (pattern.size() > kLongestPattern)
            fail_here(fmt::format("is longer than {} bytes", kLongestPattern));
        if (!is_valid_utf8(pattern)) fail_here("is not valid UTF-8");
        while (!pattern.empty()) {
            const Utf8Char c = decode_utf8(pattern);
            text_ += c.code_point;
            pattern.remove_prefix(c.length);
        }
    }

    Regex parse() {
        Regex regex;
        parse_conditions(regex);
        regex.main = alternatives();
        if (!done()) fail_here("has a ) without a (");
        if (!regex.ahead.empty() && regex.main.kind == Expr::choice)
            fail_here("has a condition in one alternative; put all alternatives behind it in a group");
        return regex;
    }

  private:
    [[noreturn]] void fail_here(const std::string& what) const {
        throw GrammarError(fmt::format("the regular expression {} (column {})", what, at_ + 1));
    }

    bool done() const { return at_ == text_.size(); }
    char32_t peek() const { return done() ? 0 : text_[at_]; }
    bool starts(std::u32string_view what) const {
        return std::u32string_view(text_).substr(at_).starts_with(what);
    }
    bool take(std::u32string_view what) {
        if (!starts(what)) return false;
        at_ += what.size();
        return true;
    }

    // Look-ahead directly after ^ is about the whole text.
    void parse_conditions(Regex& regex) {
        if (!starts(U"^(?=") && !starts(U"^(?!")) return;
        ++at_;
        while (starts(U"(?=") || starts(U"(?!")) {
            if (regex.ahead.size() == kMostConditions) fail_here("has too many conditions");
            const bool negative = starts(U"(?!");
            at_ += 3;
            regex.ahead.push_back({alternatives(), negative});
            if (!take(U")")) fail_here("has a ( without a )");
        }
        begins_ = true;
    }

    Expr alternatives() {
        if (++depth_ > nesting_) fail_here(fmt::format("has more than {} groups in one another", nesting_));
        const bool begins = std::exchange(begins_, false);
        std::vector<Expr> all;
        do {
            std::vector<Expr> parts;
            if (begins && all.empty()) parts.push_back({.kind = Expr::begin});
            while (!done() && peek() != '|' && peek() != ')') parts.push_back(repeated());
            all.push_back(Expr::all_of(std::move(parts)));
        } while (take(U"|"));
        --depth_;
        return Expr::one_of(std::move(all));
    }

    Expr repeated() {
        const std::size_t begin = at_;
        Expr what = atom();
        bool again = false;
        while (true) {
            std::uint32_t least = 0, most = kNoLimit;
            if (take(U"?")) {
                most = 1;
            } else if (take(U"+")) {
                least = 1;
            } else if (!take(U"*") && !times(least, most)) {
                return what;
            }
            if (again || what.kind == Expr::begin || what.kind == Expr::end) {
                at_ = begin;
                fail_here("repeats something that cannot be repeated");
            }
            take(U"?");  // lazy
            what = Expr::repeated(std::move(what), least, most);
            again = true;
        }
    }

    bool times(std::uint32_t& least, std::uint32_t& most) {
        const std::size_t begin = at_;
        if (!take(U"{")) return false;
        const auto first = number();
        if (!first) fail_here("has a { that is not part of {m,n}; write \\{");
        least = most = *first;
        if (take(U",")) most = number().value_or(kNoLimit);
        if (!take(U"}")) fail_here("has a { that is not part of {m,n}; write \\{");
        if (least > most) {
            at_ = begin;
            fail_here("has a repetition whose limits are the wrong way round");
        }
        return true;
    }

    std::optional<std::uint32_t> number() {
        if (peek() < '0' || peek() > '9') return std::nullopt;
        std::uint32_t value = 0;
        for (; peek() >= '0' && peek() <= '9'; ++at_) {
            value = value * 10 + static_cast<std::uint32_t>(peek() - '0');
            if (value > kMostTimes) fail_here(fmt::format("repeats more than {} times", kMostTimes));
        }
        return value;
    }

    Expr set_of(CharSet set) const { return Expr::of(flags_.any_case ? set.any_case() : std::move(set)); }

    Expr atom() {
        const char32_t c = text_[at_];
        switch (c) {
            case '^': return ++at_, Expr{.kind = Expr::begin};
            case '$': return ++at_, Expr{.kind = Expr::end};
            case '.': return ++at_, Expr::of(flags_.dot_is_all ? CharSet::all() : kLineEnds.inverted());
            case '(': return group();
            case '[': return set_of(char_class());
            case '\\': return set_of(escape(false));
            case '*':
            case '+':
            case '?':
            case '{': fail_here("has a repetition of nothing");
            default: return ++at_, set_of(CharSet::of(c));
        }
    }

    Expr group() {
        const std::size_t begin = at_++;
        if (take(U"?:")) {
        } else if (take(U"?<") || take(U"?P<")) {
            if (peek() == '=' || peek() == '!') fail_here("looks behind, which is not supported");
            while (!done() && peek() != '>') ++at_;
            ++at_;
        } else if (starts(U"?=") || starts(U"?!")) {
            at_ = begin;
            fail_here("looks ahead, which is supported directly after ^ at the beginning only");
        } else if (starts(U"?")) {
            fail_here("has a group of an unknown kind");
        }
        Expr what = alternatives();
        if (!take(U")")) {
            at_ = begin;
            fail_here("has a ( without a )");
        }
        return what;
    }

    CharSet char_class() {
        const std::size_t begin = at_++;
        const bool inverted = take(U"^");
        CharSet set;
        while (peek() != ']') {
            if (done()) {
                at_ = begin;
                fail_here("has a [ without a ]");
            }
            const CharSet low = member();
            const bool is_range = peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
            if (!is_range || !single(low)) {
                set.add(low);
                continue;
            }
            ++at_;
            const CharSet high = member();
            if (!single(high) || *single(high) < *single(low))
                fail_here("has a range whose ends do not fit together");
            set.add(*single(low), *single(high));
        }
        ++at_;
        if (flags_.any_case) set = set.any_case();
        return inverted ? set.inverted() : set;
    }

    static std::optional<char32_t> single(const CharSet& set) {
        const auto& ranges = set.ranges();
        if (ranges.size() != 1 || ranges[0].low != ranges[0].high) return std::nullopt;
        return ranges[0].low;
    }

    CharSet member() {
        if (peek() == '\\') return escape(true);
        return CharSet::of(text_[at_++]);
    }

    CharSet escape(bool in_class) {
        const std::size_t begin = at_++;
        if (done()) fail_here("ends with a \\");
        const char32_t c = text_[at_++];
        switch (c) {
            case 'd': return kDigits;
            case 'D': return kDigits.inverted();
            case 'w': return kWord;
            case 'W': return kWord.inverted();
            case 's': return kSpace;
            case 'S': return kSpace.inverted();
            case 'n': return CharSet::of('\n');
            case 'r': return CharSet::of('\r');
            case 't': return CharSet::of('\t');
            case 'f': return CharSet::of('\f');
            case 'v': return CharSet::of('\v');
            case 'p':
            case 'P': return category(c == 'P');
            case 'x': return CharSet::of(hex(2));
            case 'u': return CharSet::of(unicode());
            case 'b':
                if (in_class) return CharSet::of('\b');
                break;
            case '0':
                if (peek() < '0' || peek() > '9') return CharSet::of(0);
                break;
            default:
                if (c >= 0x80 || !kWord.has(c) || c == '_') return CharSet::of(c);
        }
        at_ = begin;
        if (c == 'b' || c == 'B') fail_here("looks for the border of a word, which is not supported");
        if (c >= '1' && c <= '9') fail_here("refers back to a group, which is not supported");
        fail_here("has an unknown escape");
    }

    char32_t hex(std::size_t digits) {
        char32_t value = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            const auto digit = hex_digit(peek());
            if (!digit) fail_here("has an incomplete escape of a character");
            value = value * 16 + *digit;
            ++at_;
        }
        return value;
    }

    char32_t unicode() {
        if (!take(U"{")) {
            const char32_t first = hex(4);
            if (first < 0xD800 || first > 0xDBFF || !take(U"\\u")) return first;
            return 0x10000 + ((first & 0x3FF) << 10) + (hex(4) & 0x3FF);
        }
        char32_t value = 0;
        while (!take(U"}")) {
            value = value * 16 + hex(1);
            if (value > 0x10FFFF) fail_here("has an escape of a character beyond Unicode");
        }
        return value;
    }

    CharSet category(bool inverted) {
        if (!take(U"{")) fail_here("has a \\p without {...}");
        std::string name;
        for (; !done() && peek() != '}'; ++at_) append_utf8(name, peek());
        if (!take(U"}")) fail_here("has a \\p without {...}");
        for (const std::string_view key : {"General_Category=", "gc="})
            if (name.starts_with(key)) name = name.substr(key.size());
        const auto set = unicode_category(name);
        if (!set)
            fail_here(fmt::format("names the property \"{}\"; only general categories are supported", name));
        return inverted ? set->inverted() : *set;
    }

    std::u32string text_;
    RegexFlags flags_;
    std::size_t nesting_;
    std::size_t at_ = 0, depth_ = 0;
    bool begins_ = false;  // the alternatives to be read stand behind a ^
};

}  // namespace

Regex parse_regex(std::string_view pattern, RegexFlags flags, std::size_t nesting) {
    return RegexParser(pattern, flags, nesting).parse();
}

}  // namespace cachalot::grammar
