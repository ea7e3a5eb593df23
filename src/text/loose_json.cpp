#include "text/loose_json.h"

#include "text/chat_json.h"

namespace cachalot {

namespace {

constexpr std::string_view kSpaces = " \t\r\n";
constexpr std::string_view kFence = "```";

bool is_word_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

// Copies the text, mending what it meets.
class Mender {
  public:
    explicit Mender(std::string_view text) : text_(text) {}

    std::optional<std::string> mend() {
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == '"' || c == '\'') {
                copy_string(c);
            } else if (c == '{' || c == '[') {
                closers_ += c == '{' ? '}' : ']';
                if (closers_.size() > kMaxJsonDepth) return std::nullopt;
                out_ += c;
                at_++;
            } else if (c == '}' || c == ']') {
                if (closers_.empty() || closers_.back() != c) return std::nullopt;
                drop_comma();
                closers_.pop_back();
                out_ += c;
                at_++;
                if (closers_.empty()) break;
            } else if (is_word_char(c)) {
                copy_word();
            } else {
                if (c == ',' && closers_.size() == 1) members_end_ = out_.size();
                out_ += c;
                at_++;
            }
        }
        const bool all = text_.find_first_not_of("}] \t\r\n", at_) == std::string_view::npos;
        return all ? closed() : std::nullopt;
    }

  private:
    void copy_string(char quote) {
        out_ += '"';
        for (at_++; at_ < text_.size(); at_++) {
            const char c = text_[at_];
            if (c == quote) {
                at_++;
                out_ += '"';
                return;
            }
            if (c == '\\' && at_ + 1 < text_.size()) {
                at_++;
                if (text_[at_] != '\'') out_ += '\\';
                out_ += text_[at_];
            } else if (c == '"') {
                out_ += "\\\"";
            } else if (c != '\\') {
                append_json_escaped(out_, {&c, 1});
            }
        }
        out_ += '"';  // the text ends within the string
    }

    void copy_word() {
        const std::size_t start = at_;
        while (at_ < text_.size() && is_word_char(text_[at_])) at_++;
        const std::string_view word = text_.substr(start, at_ - start);
        if (word == "True") {
            out_ += "true";
        } else if (word == "False") {
            out_ += "false";
        } else if (word == "None") {
            out_ += "null";
        } else if (is_key()) {
            out_ += json_string(word);
        } else {
            out_ += word;
        }
    }

    // Whether the word before is the name of a member that lacks its quotes.
    bool is_key() const {
        const std::size_t next = text_.find_first_not_of(kSpaces, at_);
        return closers_.ends_with('}') && next != std::string_view::npos && text_[next] == ':';
    }

    // Whether nothing of a value stands behind the last comma: a name at most.
    bool cut_before_value() const {
        std::string tail = out_.substr(members_end_ + 1);
        const std::size_t last = tail.find_last_not_of(kSpaces);
        if (last != std::string::npos && tail[last] == ':') tail.erase(last);
        const std::size_t start = tail.find_first_not_of(kSpaces);
        return start == std::string::npos || (tail[start] == '"' && is_json(tail));
    }

    void drop_comma() {
        const std::size_t last = out_.find_last_not_of(kSpaces);
        if (last != std::string::npos && out_[last] == ',') out_.erase(last);
    }

    std::optional<std::string> closed() {
        drop_comma();
        std::string whole = out_ + std::string(closers_.rbegin(), closers_.rend());
        if (is_json(whole)) return whole;
        if (closers_.empty() || members_end_ == 0 || !cut_before_value()) return std::nullopt;
        whole = out_.substr(0, members_end_) + closers_.front();
        if (is_json(whole)) return whole;
        return std::nullopt;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::string out_;
    std::string closers_;          // of the brackets that are open
    std::size_t members_end_ = 0;  // in out_: before the last comma between members of the outermost bracket
};

}  // namespace

std::string_view without_fence(std::string_view text) {
    const auto trim = [](std::string_view t) {
        const std::size_t start = t.find_first_not_of(kSpaces);
        if (start == std::string_view::npos) return std::string_view();
        return t.substr(start, t.find_last_not_of(kSpaces) - start + 1);
    };
    text = trim(text);
    if (text.size() < 2 * kFence.size() || !text.starts_with(kFence) || !text.ends_with(kFence)) return text;
    const std::size_t line = text.find('\n');
    if (line == std::string_view::npos) return text;
    return trim(text.substr(line, text.size() - kFence.size() - line));
}

std::optional<std::string> mend_json(std::string_view text) {
    text = without_fence(text);
    if (!text.starts_with('{') && !text.starts_with('[')) return std::nullopt;
    if (is_json(text)) return std::string(text);
    return Mender(text).mend();
}

}  // namespace cachalot
