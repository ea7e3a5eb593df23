#include "text/dsml_tag.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace cachalot {

namespace {

constexpr std::size_t kMaxWord = 24;
constexpr std::size_t kMaxSpaces = 4;  // before the tag's word
constexpr std::string_view kBar = "｜";

enum class Word { calls, invoke, parameter, other };

struct Known {
    std::string_view text;
    Word word;
    std::size_t distance;  // of spellings that still count
};
// As words are compared: small letters only.
constexpr std::array<Known, 8> kKnown = {{
    {"toolcalls", Word::calls, 2},
    {"functioncalls", Word::calls, 2},
    {"calls", Word::calls, 1},
    {"tools", Word::calls, 1},
    {"invoke", Word::invoke, 2},
    {"function", Word::invoke, 1},
    {"parameter", Word::parameter, 3},
    {"argument", Word::parameter, 2},
}};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_word_char(char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-'; }

// How many letters have to be inserted, left out, replaced or swapped with the next.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
    std::iota(last.begin(), last.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); i++) {
        now[0] = i;
        for (std::size_t j = 1; j <= b.size(); j++) {
            now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
            const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) now[j] = std::min(now[j], before[j - 2] + 1);
        }
        std::swap(before, last);
        std::swap(last, now);
    }
    return last[b.size()];
}

Word meaning(std::string_view text) {
    std::string letters;
    for (const char c : text)
        if (is_letter(c)) letters += static_cast<char>(c | 0x20);
    const Known* best = nullptr;
    std::size_t least = kMaxWord;
    for (const Known& known : kKnown) {
        const std::size_t away = distance(letters, known.text);
        if (away > known.distance || away >= least) continue;
        best = &known;
        least = away;
    }
    if (best) return best->word;
    if (letters.starts_with("param") || letters == "arg" || letters == "args") return Word::parameter;
    return Word::other;
}

class Matcher {
  public:
    explicit Matcher(std::string_view text) : text_(text.substr(0, kMaxDsmlTag)) {}

    DsmlMatch match() {
        DsmlMatch result;
        DsmlTag tag;
        if (read(tag)) {
            result.state = DsmlMatch::State::tag;
        } else if (ran_out_ && text_.size() < kMaxDsmlTag) {
            result.state = DsmlMatch::State::partial;
            result.sentinel = sentinel_;
        } else if (bare_ > 0) {  // a sentinel and nothing that could be a tag
            result.state = DsmlMatch::State::tag;
            at_ = bare_;
            tag = {};
            tag.kind = DsmlKind::other_start;
        } else {
            return result;
        }
        result.length = at_;
        result.tag = std::move(tag);
        return result;
    }

    DsmlMatch match_plain() {
        DsmlMatch result;
        if (!text_.starts_with('<')) return result;
        closing_ = text_.starts_with("</");
        at_ = closing_ ? 2 : 1;
        std::size_t end = at_;
        while (end < text_.size() && is_word_char(text_[end]) && end - at_ < kMaxWord) end++;
        const std::string_view word = text_.substr(at_, end - at_);
        bool known = false, begins = false;
        for (const std::string_view exact : {"tool_calls", "function_calls", "invoke", "parameter"}) {
            known |= word == exact;
            begins |= exact.starts_with(word);
        }
        if (end == text_.size()) {
            if (begins) result.state = DsmlMatch::State::partial;
            return result;
        }
        DsmlTag tag;
        if (!known) return result;
        if (!rest(tag) || text_[at_ - 1] != '>') {
            const bool cut = ran_out_ && text_.size() < kMaxDsmlTag;
            if (cut) result.state = DsmlMatch::State::partial;
            return result;
        }
        result.state = DsmlMatch::State::tag;
        result.length = at_;
        result.tag = std::move(tag);
        return result;
    }

  private:
    // Each of these returns false if the text does not go on as asked; then ran_out_ says whether it just
    // ended.

    bool at_end() {
        if (at_ < text_.size()) return false;
        ran_out_ = true;
        return true;
    }

    bool skip(std::string_view expected) {
        const std::string_view rest = text_.substr(at_, expected.size());
        if (rest != expected.substr(0, rest.size())) return false;
        ran_out_ = rest.size() < expected.size();
        if (ran_out_) return false;
        at_ += expected.size();
        return true;
    }

    bool skip_spaces(std::size_t limit) {
        for (std::size_t count = 0; !at_end(); at_++, count++) {
            if (!is_space(text_[at_])) return true;
            if (count == limit) return false;
        }
        return false;
    }

    bool skip_slash() {
        if (at_end()) return false;
        if (text_[at_] == '/') {
            at_++;
            closing_ = true;
        }
        return true;
    }

    // Up to two bars of either width and a space beside them.
    bool skip_bars(std::size_t& bars) {
        for (bars = 0; bars < 2;) {
            if (at_end()) return false;
            if (text_[at_] == '|') {
                at_++;
            } else if (text_[at_] == kBar[0]) {
                if (!skip(kBar)) return false;
            } else {
                break;
            }
            bars++;
        }
        return true;
    }

    bool skip_sentinel() {
        std::size_t left = 0, right = 0;
        const bool bare = text_.starts_with(kBar[0]);
        if (bare) {  // this much is sure to be the special token only if all of it is there
            if (!skip("｜DSML｜")) return false;
            bare_ = at_;
            sentinel_ = true;
            return skip_slash();
        }
        if (!skip("<") || !skip_slash()) return false;
        const bool more = skip_bars(left);
        sentinel_ = left > 0 && text_.substr(0, at_).ends_with(kBar);
        if (!more) return false;
        const std::string_view letters = text_.substr(at_, 4);
        const bool small = letters.starts_with('d');
        if (!skip(small ? "dsml" : "DSML")) return false;
        const bool some = skip_bars(right);
        if (left + right == 0 && some) return false;
        sentinel_ = left + right > 0;
        if (!some) return false;
        bare_ = at_;
        return skip_slash();
    }

    bool read(DsmlTag& tag) {
        if (!skip_sentinel() || !skip_spaces(kMaxSpaces)) return false;
        return rest(tag);
    }

    // The word, attributes and what ends the tag.
    bool rest(DsmlTag& tag) {
        const std::size_t start = at_;
        while (at_ < text_.size() && at_ - start < kMaxWord && is_word_char(text_[at_])) at_++;
        tag.word = text_.substr(start, at_ - start);
        if (at_end()) return false;
        const Word word = word_ = meaning(tag.word);
        bare_names_ = word == Word::invoke || word == Word::parameter;
        if (!attributes(tag)) return false;
        if (word == Word::other && text_[at_ - 1] != '>') return false;
        name_it(tag, word);
        return true;
    }

    void name_it(DsmlTag& tag, Word word) {
        if (closing_) {
            constexpr std::array kEnds = {DsmlKind::calls_end, DsmlKind::invoke_end, DsmlKind::parameter_end,
                                          DsmlKind::other_end};
            tag.kind = kEnds[static_cast<std::size_t>(word)];
            return;
        }
        if (tag.name.empty() && word != Word::calls) {  // under another key: tool="f"
            auto named = std::find_if(tag.attributes.begin(), tag.attributes.end(),
                                      [](const auto& attribute) { return attribute.first != "value"; });
            if (named != tag.attributes.end() && word != Word::other) {
                tag.name = std::move(named->second);
                tag.attributes.erase(named);
            }
        }
        if (word == Word::parameter) tag.kind = DsmlKind::parameter_start;
        if (word == Word::other) tag.kind = DsmlKind::other_start;
        if (word == Word::calls || word == Word::invoke)
            tag.kind = tag.name.empty() ? DsmlKind::calls_start : DsmlKind::invoke_start;
    }

    // The attributes and the end: ">", "/>", or a place where nothing of a tag goes on.
    bool attributes(DsmlTag& tag) {
        while (true) {
            const std::size_t end = at_;
            if (!skip_spaces(kMaxDsmlTag)) return false;
            const bool new_line = text_.substr(end, at_ - end).find('\n') != std::string_view::npos;
            const char c = text_[at_];
            if (c == '>' || c == '/') {
                at_++;
                if (c == '>') return true;
                if (at_end()) return false;
                tag.closed = text_[at_] == '>';
                continue;
            }
            if (skip_separator()) continue;
            if (ran_out_) return false;
            // string="true"ls: the tag ends with the quote.
            const bool glued = at_ == end && word_ == Word::parameter && !tag.name.empty() && after_quote_;
            if (attribute(tag, bare_names_ && !new_line && !glued)) continue;
            at_ = end;
            if (glued && !ran_out_) return true;
            return !ran_out_ && (new_line || c == '<' || c == '{' || c == '[');
        }
    }

    // What models put between a name and the end of its tag, and around it: invoke("f"), name="f";>,
    // name="f"|>
    bool skip_separator() {
        const char c = text_[at_];
        const bool bracket = word_ == Word::invoke && (c == '(' || c == ')');
        if (bracket || (bare_names_ && (c == ';' || c == ',' || c == '|'))) {
            at_++;
            return true;
        }
        return bare_names_ && c == kBar[0] && skip(kBar);
    }

    // `bare`: one without a value will do. It is the name if there is no other.
    bool attribute(DsmlTag& tag, bool bare) {
        const std::size_t start = at_;
        after_quote_ = false;
        while (at_ < text_.size() && (is_word_char(text_[at_]) || (bare && at_ > start && text_[at_] == '.')))
            at_++;
        const std::size_t end = at_;
        const std::string key(text_.substr(start, end - start));
        std::string value;
        if (!skip_spaces(kMaxDsmlTag)) return false;
        if (text_[at_] != '=' && text_[at_] != ':') {
            at_ = end;
            if (bare && key.empty() && tag.name.empty() && quote_at(at_).length > 0) {
                if (!attribute_value(value, true)) return false;
                tag.name = std::move(value);
                return true;
            }
            const bool ends = std::string_view(">/);,| \t\r\n").find(text_[end]) != std::string_view::npos;
            if (!bare || key.empty() || !ends) return false;
            if (tag.name.empty()) tag.name = key;
            return true;
        }
        at_++;
        if (!skip_spaces(kMaxDsmlTag) || !attribute_value(value, key == "name" || key.empty())) return false;
        if (key == "name" || key.empty()) {
            tag.name = std::move(value);
        } else if (key == "string") {
            if (value == "true" || value == "True") tag.is_string = true;
            if (value == "false" || value == "False") tag.is_string = false;
        } else {
            tag.attributes.emplace_back(key, std::move(value));
        }
        return true;
    }

    // A quote as it is, escaped, or typographic. The length is 0 if there is none, npos if more text has to
    // tell.
    struct Quote {
        std::size_t length = 0;
        char kind = 0;  // '"' or '\''
    };
    Quote quote_at(std::size_t at) const {
        constexpr std::string_view kTypographic = "\xE2\x80";
        const std::string_view text = text_.substr(at, 3);
        if (text.starts_with('"') || text.starts_with('\'')) return {1, text[0]};
        if (text.starts_with('\\')) {
            if (text.size() == 1) return {std::string_view::npos};
            return text[1] == '"' || text[1] == '\'' ? Quote{2, text[1]} : Quote{};
        }
        if (text.empty() || text.substr(0, 2) != kTypographic.substr(0, text.size())) return {};
        if (text.size() < 3) return {std::string_view::npos};
        if (text[2] == '\x9C' || text[2] == '\x9D') return {3, '"'};
        return text[2] == '\x98' || text[2] == '\x99' ? Quote{3, '\''} : Quote{};
    }

    // Whether `quote` ends what `open` began. A name ends at any before the tag's end.
    bool closes(const Quote& quote, const Quote& open, bool name) const {
        if (quote.length == 0) return false;
        if (quote.kind == open.kind && (quote.length == 1 || quote.length == open.length)) return true;
        return name && text_.substr(at_ + quote.length).starts_with('>');
    }

    bool attribute_value(std::string& value, bool name) {
        const Quote open = quote_at(at_);
        if (open.length == std::string_view::npos) {
            at_ = text_.size();
            return !at_end();
        }
        at_ += open.length;
        const std::size_t start = at_;
        for (; !at_end(); at_++) {
            const char c = text_[at_];
            const Quote quote = open.length > 0 ? quote_at(at_) : Quote{};
            if (quote.length == std::string_view::npos ||
                (quote.length > 0 && at_ + quote.length == text_.size() && !closes(quote, open, false))) {
                at_ = text_.size();  // what follows tells
                return !at_end();
            }
            if (open.length > 0 ? closes(quote, open, name) : is_space(c) || c == '>') {
                value = text_.substr(start, at_ - start);
                at_ += quote.length;
                after_quote_ = open.length > 0;
                while (open.length == 0 && (value.ends_with('"') || value.ends_with('\''))) value.pop_back();
                return true;
            }
            if (open.length == 0 && c == '<') return false;
            if (c == '\n') return unclosed_quote(start, value);
        }
        return false;
    }

    // name="f> and the end of the line: the value ends before the ">".
    bool unclosed_quote(std::size_t start, std::string& value) {
        const std::size_t end = text_.substr(0, at_).rfind('>');
        if (end == std::string_view::npos || end < start) return false;
        value = text_.substr(start, end - start);
        at_ = end;
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t bare_ = 0;  // where the sentinel ends; 0: it is not complete
    bool closing_ = false;
    Word word_ = Word::other;
    bool bare_names_ = false;   // <invoke f> has a name
    bool after_quote_ = false;  // of a value that is complete
    bool ran_out_ = false;
    bool sentinel_ = false;
};

}  // namespace

DsmlMatch match_dsml_tag(std::string_view text) { return Matcher(text).match(); }

DsmlMatch match_plain_tag(std::string_view text) { return Matcher(text).match_plain(); }

}  // namespace cachalot
