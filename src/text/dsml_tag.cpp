#include "text/dsml_tag.h"

#include <array>

namespace cachalot {

namespace {

constexpr std::size_t kMaxTagName = 16;
constexpr std::size_t kMaxSpaces = 4;  // before the tag's name

struct Known {
    std::string_view name;
    DsmlKind start, end;
};
constexpr std::array<Known, 5> kKnown = {{
    {"tool_calls", DsmlKind::calls_start, DsmlKind::calls_end},
    {"calls", DsmlKind::calls_start, DsmlKind::calls_end},
    {"function_calls", DsmlKind::calls_start, DsmlKind::calls_end},
    {"invoke", DsmlKind::invoke_start, DsmlKind::invoke_end},
    {"parameter", DsmlKind::parameter_start, DsmlKind::parameter_end},
}};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_name_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

class Matcher {
  public:
    explicit Matcher(std::string_view text) : text_(text.substr(0, kMaxDsmlTag)) {}

    DsmlMatch match() {
        DsmlMatch result;
        if (!tag(result.tag)) {
            // Cut off by the limit and not by the end of the text: there is no tag of that length.
            const bool partial = ran_out_ && text_.size() < kMaxDsmlTag;
            result.state = partial ? DsmlMatch::State::partial : DsmlMatch::State::none;
            result.sentinel = sentinel_;
            return result;
        }
        result.state = DsmlMatch::State::tag;
        result.length = at_;
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

    // One bar or two, of either width.
    bool skip_bars() {
        for (int bars = 0; bars < 2; bars++) {
            if (at_end()) return false;
            if (text_[at_] == '|') {
                at_++;
            } else if (text_[at_] == '\xEF') {
                if (!skip("｜")) return false;
            } else {
                return bars > 0;
            }
        }
        return true;
    }

    bool tag(DsmlTag& result) {
        if (!skip("<")) return false;
        if (at_end()) return false;
        const bool closing = text_[at_] == '/';
        if (closing) at_++;
        if (!skip_bars() || !skip("DSML")) return false;
        const std::size_t bars = at_;
        const bool complete = skip_bars();
        sentinel_ = at_ > bars;
        if (!complete || !skip_spaces(kMaxSpaces)) return false;
        const Known* known = tag_name();
        if (!known) return false;
        result.kind = closing ? known->end : known->start;
        if (closing) return skip_spaces(kMaxDsmlTag) && skip(">");
        if (!attributes(result)) return false;
        return result.kind == DsmlKind::calls_start || !result.name.empty();
    }

    const Known* tag_name() {
        const std::size_t start = at_;
        while (at_ < text_.size() && at_ - start < kMaxTagName && is_name_char(text_[at_])) at_++;
        const std::string_view name = text_.substr(start, at_ - start);
        bool begins_a_name = false;
        for (const Known& known : kKnown) {
            if (at_ < text_.size() && known.name == name) return &known;
            begins_a_name |= known.name.substr(0, name.size()) == name;
        }
        ran_out_ = at_ == text_.size() && begins_a_name;
        return nullptr;
    }

    // The attributes and the closing ">".
    bool attributes(DsmlTag& result) {
        while (true) {
            if (!skip_spaces(kMaxDsmlTag)) return false;
            if (text_[at_] == '>') {
                at_++;
                return true;
            }
            const std::size_t start = at_;
            while (at_ < text_.size() && is_name_char(text_[at_])) at_++;
            const std::string_view key = text_.substr(start, at_ - start);
            if (at_end() || key.empty() || !skip_spaces(kMaxDsmlTag) || !skip("=")) return false;
            std::string_view value;
            if (!skip_spaces(kMaxDsmlTag) || !attribute_value(value)) return false;
            if (key == "name") result.name = value;
            if (key == "string" && (value == "true" || value == "false")) result.is_string = value == "true";
        }
    }

    bool attribute_value(std::string_view& value) {
        const char quote = text_[at_];
        const bool quoted = quote == '"' || quote == '\'';
        if (quoted) at_++;
        const std::size_t start = at_;
        for (; !at_end(); at_++) {
            const char c = text_[at_];
            if (quoted ? c == quote : is_space(c) || c == '>') {
                value = text_.substr(start, at_ - start);
                if (quoted) at_++;
                return true;
            }
            if (c == '\n' || (!quoted && c == '<')) return false;  // a quote that is never closed
        }
        return false;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    bool ran_out_ = false;
    bool sentinel_ = false;
};

}  // namespace

DsmlMatch match_dsml_tag(std::string_view text) { return Matcher(text).match(); }

}  // namespace cachalot
