#include "text/mark_reader.h"

#include <algorithm>
#include <utility>

#include "text/prompt_protocol.h"

namespace cachalot {

namespace {

constexpr std::size_t kMaxTagSpace = 64;  // between a tag and the one that shows what it is
constexpr std::size_t kMaxSpecial = 64;   // bytes of a special token's text
constexpr std::string_view kSpaces = " \t\r\n";
constexpr std::string_view kBar = "｜";

bool is_space(char c) { return kSpaces.find(c) != std::string_view::npos; }

bool begins(std::string_view text, std::string_view token) {
    return text.starts_with(token.substr(0, text.size()));
}

// `<｜name｜>`: its length, 0 if it is none, npos if more text has to tell.
std::size_t special_token(std::string_view text) {
    constexpr std::string_view kStart = "<｜", kEnd = "｜>";
    if (!begins(text.substr(0, kStart.size()), kStart)) return 0;
    if (text.size() <= kStart.size()) return std::string_view::npos;
    const std::size_t bar = text.find(kBar, kStart.size());
    const std::string_view name = text.substr(kStart.size(), std::min(bar, text.size()) - kStart.size());
    if (name.size() > kMaxSpecial || name.find_first_of("<>\n") != std::string_view::npos) return 0;
    if (bar == std::string_view::npos) return std::string_view::npos;
    const std::string_view end = text.substr(bar, kEnd.size());
    if (name.empty() || !begins(end, kEnd)) return 0;
    return end.size() < kEnd.size() ? std::string_view::npos : bar + kEnd.size();
}

}  // namespace

Mark control_mark(std::string_view text, bool ended) {
    using Kind = Mark::Kind;
    bool more = false, cut = false;
    for (const auto& [token, kind] :
         {std::pair{kThinkStart, Kind::think_start}, std::pair{kThinkEnd, Kind::think_end}}) {
        if (!begins(text.substr(0, token.size()), token)) continue;
        if (text.size() >= token.size()) return {kind, token.size(), {}};
        more = true;
    }
    DsmlMatch match = match_dsml_tag(text);
    if (match.state == DsmlMatch::State::tag) return {Kind::tag, match.length, std::move(match.tag)};
    more |= match.state == DsmlMatch::State::partial;
    cut |= match.state == DsmlMatch::State::partial && match.sentinel;
    const std::size_t special = special_token(text);
    if (special == std::string_view::npos) {
        more = true;
        cut |= text.starts_with("<｜");
    } else if (special > 0 && match.state == DsmlMatch::State::none) {
        return {Kind::special, special, {}};
    }
    if (more && !ended) return {Kind::more, 0, {}};
    if (cut) return {Kind::cut_tag, text.size(), {}};
    return {Kind::text, 1, {}};
}

std::size_t MarkReader::find(std::size_t from) const {
    constexpr std::string_view kFirst = "<\xEF";  // of "<" and of a bar
    for (std::size_t at = text_.find_first_of(kFirst, from); at != std::string_view::npos;
         at = text_.find_first_of(kFirst, at + 1))
        if (text_[at] == '<' || begins(text_.substr(at, kBar.size()), kBar)) return at;
    return text_.size();
}

Mark MarkReader::look(std::size_t at) const {
    using Kind = Mark::Kind;
    const std::string_view text = text_.substr(at);
    Mark mark = control_mark(text, false);
    if (mark.kind != Kind::text && mark.kind != Kind::more) return mark;
    DsmlMatch match = match_plain_tag(text);
    if (match.state == DsmlMatch::State::tag) return {Kind::tag, match.length, std::move(match.tag), true};
    const bool more = mark.kind == Kind::more || match.state == DsmlMatch::State::partial;
    if (more && !ended_) return {Kind::more, 0, {}};
    if (among_tags_ && match_dsml_tag(text).state == DsmlMatch::State::partial)
        return {Kind::cut_tag, text.size(), {}};
    return more ? control_mark(text, true) : Mark{Kind::text, 1, {}};
}

Mark MarkReader::next(std::size_t at) const {
    std::size_t spaces = 0;
    while (at + spaces < text_.size() && is_space(text_[at + spaces]))
        if (++spaces > kMaxTagSpace) return {};
    if (at + spaces == text_.size()) return {ended_ ? Mark::Kind::special : Mark::Kind::more, 0, {}};
    Mark next = find(at + spaces) == at + spaces ? look(at + spaces) : Mark{};
    if (next.kind == Mark::Kind::cut_tag) next.kind = Mark::Kind::special;
    // At the end of the text the beginning of a tag will do.
    const std::string_view rest = text_.substr(at + spaces);
    if (ended_ && next.kind == Mark::Kind::text && match_dsml_tag(rest).state == DsmlMatch::State::partial)
        next.kind = Mark::Kind::special;
    return next;
}

MarkReader::Answer MarkReader::followed_by(std::size_t at, std::initializer_list<DsmlKind> kinds) const {
    const Mark mark = next(at);
    if (mark.kind == Mark::Kind::more) return Answer::more;
    if (mark.kind == Mark::Kind::special) return Answer::yes;
    if (mark.kind != Mark::Kind::tag || mark.plain) return Answer::no;
    return std::find(kinds.begin(), kinds.end(), mark.tag.kind) != kinds.end() ? Answer::yes : Answer::no;
}

}  // namespace cachalot
