// The parser is a state machine over a buffer of undecided text. step() decides on the next stretch, or
// returns false if the text so far allows of more than one decision. A decision looks at nothing but the text
// it is about, never at where the buffer happens to end; that alone makes the result independent of the
// chunks.
//
//     reasoning ──</think>──► content ◄────────────────┐
//         └────block────────────┘ │ invoke             │ invoke's end
//                  JSON in a block│                    │
//                  block_json ◄───┴───► call ◄──────► value
#include "text/completion_parser.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/call_arguments.h"
#include "text/prompt_protocol.h"

namespace cachalot {

namespace {

constexpr std::size_t kMaxHeadSpace = 8;   // before a stray think tag
constexpr std::size_t kMaxTagSpace = 64;   // between a tag and the one that shows what it is
constexpr std::size_t kBlockNewlines = 2;  // before a block, belonging to it
constexpr std::size_t kMaxSpecial = 64;    // bytes of a special token's text
constexpr std::string_view kSpaces = " \t\r\n";
constexpr std::string_view kBar = "｜";
constexpr std::string_view kParagraph = "\n\n";

bool is_space(char c) { return kSpaces.find(c) != std::string_view::npos; }

std::string_view trim(std::string_view text) {
    const std::size_t start = text.find_first_not_of(kSpaces);
    if (start == std::string_view::npos) return {};
    return text.substr(start, text.find_last_not_of(kSpaces) - start + 1);
}

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

CompletionParser::CompletionParser(bool in_reasoning, std::shared_ptr<const ToolSchemas> tools)
    : state_(in_reasoning ? State::reasoning : State::content),
      tools_(std::move(tools)),
      call_(tools_.get(), completion_.repairs) {}

std::vector<CompletionEvent> CompletionParser::feed(std::string_view text) {
    CACHALOT_CHECK(!ended_);
    buffer_ += text;
    return advance();
}

std::vector<CompletionEvent> CompletionParser::finish(bool cut) {
    CACHALOT_CHECK(!ended_);
    ended_ = true;
    std::vector<CompletionEvent> events = advance();
    if (state_ == State::reasoning) completion_.repairs.insert(Repair::think_end_missing);
    if (state_ == State::value) close_parameter();
    if (state_ == State::call) {
        completion_.repairs.insert(Repair::truncated);
        const std::size_t complete = completion_.tool_calls.size() - call_.announced();
        close_call(cut);
        if (completion_.tool_calls.size() > complete) completion_.tool_calls.back().complete = false;
    } else if (in_block_) {
        completion_.repairs.insert(calls_in_block_ > 0 ? Repair::calls_end_missing : Repair::truncated);
    }
    events.insert(events.end(), events_.begin(), events_.end());
    events_.clear();
    return events;
}

std::vector<CompletionEvent> CompletionParser::advance() {
    while (at_ < buffer_.size() && step()) {
    }
    if (ended_ && state_ == State::block_json) read_block_json();
    buffer_.erase(0, at_);
    at_ = 0;
    return std::exchange(events_, {});
}

bool CompletionParser::step() {
    switch (state_) {
        case State::reasoning:
        case State::content: return head_ ? step_head() : step_text();
        case State::block_json: return step_block_json();
        case State::call: return step_call();
        case State::value: return step_value();
    }
    CACHALOT_CHECK(!"a state");
}

// ---- Looking ahead

// Where a tag or token may begin, from `from` on.
std::size_t CompletionParser::next_mark(std::size_t from) const {
    constexpr std::string_view kFirst = "<\xEF";  // of "<" and of a bar
    for (std::size_t at = buffer_.find_first_of(kFirst, from); at != std::string::npos;
         at = buffer_.find_first_of(kFirst, at + 1))
        if (buffer_[at] == '<' || begins(std::string_view(buffer_).substr(at, kBar.size()), kBar)) return at;
    return buffer_.size();
}

CompletionParser::Item CompletionParser::look(std::size_t at) const {
    using Kind = Item::Kind;
    const std::string_view text = std::string_view(buffer_).substr(at);
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
        cut |= text.size() > 1;
    } else if (special > 0 && match.state == DsmlMatch::State::none) {
        return {Kind::special, special, {}};
    }
    match = match_plain_tag(text);
    if (match.state == DsmlMatch::State::tag) return {Kind::tag, match.length, std::move(match.tag), true};
    more |= match.state == DsmlMatch::State::partial && (in_block_ || text.size() < kMaxSpecial);
    if (more && !ended_) return {Kind::more, 0, {}};
    if (cut) return {Kind::cut_tag, text.size(), {}};
    return {Kind::text, 1, {}};
}

// What follows the white space at `at`: kind `special` at the end of the text, `more` if that is not known yet.
CompletionParser::Item CompletionParser::next_item(std::size_t at) const {
    std::size_t spaces = 0;
    while (at + spaces < buffer_.size() && is_space(buffer_[at + spaces]))
        if (++spaces > kMaxTagSpace) return {};
    if (at + spaces == buffer_.size()) return {ended_ ? Item::Kind::special : Item::Kind::more, 0, {}};
    Item next = next_mark(at + spaces) == at + spaces ? look(at + spaces) : Item{};
    if (next.kind == Item::Kind::cut_tag) next.kind = Item::Kind::special;
    // At the end of the text the beginning of a tag will do.
    const std::string_view rest = std::string_view(buffer_).substr(at + spaces);
    if (ended_ && next.kind == Item::Kind::text && match_dsml_tag(rest).state == DsmlMatch::State::partial)
        next.kind = Item::Kind::special;
    return next;
}

CompletionParser::Answer CompletionParser::followed_by(std::size_t at,
                                                       std::initializer_list<DsmlKind> kinds) const {
    const Item next = next_item(at);
    if (next.kind == Item::Kind::more) return Answer::more;
    if (next.kind == Item::Kind::special) return Answer::yes;
    if (next.kind != Item::Kind::tag || next.plain) return Answer::no;
    return std::find(kinds.begin(), kinds.end(), next.tag.kind) != kinds.end() ? Answer::yes : Answer::no;
}

// Whether a tag at `at` begins a block where it might be text.
CompletionParser::Answer CompletionParser::begins_block(const Item& item, std::size_t at) const {
    if (item.kind == Item::Kind::more) return Answer::more;
    if (item.kind != Item::Kind::tag || item.tag.kind != DsmlKind::calls_start) return Answer::no;
    const char before = at > at_ ? buffer_[at - 1] : last_;
    if (item.plain) {
        if (before != '\n' || !tools_) return Answer::no;
        const Item next = next_item(at + item.length);
        if (next.kind == Item::Kind::more) return Answer::more;
        const bool call = next.kind == Item::Kind::tag && next.tag.kind == DsmlKind::invoke_start;
        return call && tools_->find(next.tag.name) ? Answer::yes : Answer::no;
    }
    if (std::string_view("\n.:!?").find(before) == std::string_view::npos) return Answer::no;
    return followed_by(at + item.length,
                       {DsmlKind::invoke_start, DsmlKind::calls_end, DsmlKind::calls_start});
}

// Whether a tag without the sentinel counts in a block.
bool CompletionParser::counts(const DsmlTag& tag) const {
    if (tag.kind == DsmlKind::invoke_start) return !tools_ || tools_->find(tag.name);
    return tag.kind != DsmlKind::calls_start;
}

// `at` moved back over the line breaks before it, at most `limit`.
std::size_t CompletionParser::before_newlines(std::size_t at, std::size_t limit) const {
    for (; limit > 0 && at > at_ && buffer_[at - 1] == '\n'; limit--) at--;
    return at;
}

// ---- Reasoning and content

void CompletionParser::begin(State state, bool after_tag) {
    state_ = state;
    head_ = true;
    after_tag_ = after_tag;
}

bool CompletionParser::step_head() {
    std::size_t start = at_;
    while (start < buffer_.size() && is_space(buffer_[start])) start++;
    if (after_tag_) at_ = start;
    if (start == buffer_.size() && start - at_ <= kMaxHeadSpace && !ended_) return false;
    head_ = false;
    if (start == buffer_.size() || start - at_ > kMaxHeadSpace) return true;
    if (in_block_ && after_tag_ && std::string_view("{[`").find(buffer_[start]) != std::string_view::npos) {
        state_ = State::block_json;
        return true;
    }
    if (buffer_[start] != '<') return true;
    const Item item = look(start);
    const bool opens = item.kind == Item::Kind::think_start;
    if (item.kind == Item::Kind::more) {
        head_ = true;
        return false;
    }
    if (opens || (item.kind == Item::Kind::think_end && state_ == State::content)) {
        drop(start + item.length, Repair::stray_think_tag);
        head_ = true;
        if (opens && !in_block_) begin(State::reasoning, false);
    }
    return true;
}

bool CompletionParser::step_text() {
    const std::size_t at = next_mark(at_);
    const std::size_t end_of_text = before_newlines(at, kBlockNewlines);
    if (at == buffer_.size()) {
        pass_text(ended_ ? at : end_of_text);
        return false;
    }
    const Item item = look(at);
    const bool in_reasoning = state_ == State::reasoning;
    const bool may_be_text = in_reasoning || (item.plain && !in_block_);
    Answer block = may_be_text || item.kind == Item::Kind::more ? begins_block(item, at) : Answer::no;
    if (block == Answer::more) {
        pass_text(end_of_text);
        return false;
    }
    switch (item.kind) {
        case Item::Kind::think_end:
            pass_text(at);
            if (in_reasoning) {
                at_ = at + item.length;
                begin(State::content, false);
                return true;
            }
            paragraph_ = true;
            drop(at + item.length, Repair::stray_think_tag);
            begin(State::content, true);
            return true;
        case Item::Kind::think_start:
            pass_text(at);
            drop(at + item.length, Repair::stray_think_tag);
            return true;
        case Item::Kind::special:
            pass_text(at);
            if (at + item.length == buffer_.size() && ended_) {
                at_ = buffer_.size();
            } else {
                drop(at + item.length, Repair::special_token);
            }
            return true;
        case Item::Kind::cut_tag:
            pass_text(end_of_text);
            drop(buffer_.size(), Repair::truncated);
            return true;
        case Item::Kind::tag:
            if ((may_be_text && block == Answer::no) || (item.plain && in_block_ && !counts(item.tag))) break;
            pass_text(item.tag.kind == DsmlKind::calls_start || item.tag.kind == DsmlKind::invoke_start
                          ? end_of_text
                          : at);
            if (in_reasoning) completion_.repairs.insert(Repair::think_end_missing);
            at_ = at + item.length;
            state_ = State::content;
            tag_in_content(item);
            return true;
        default: break;
    }
    pass_text(at + item.length);
    return true;
}

// A tag outside of calls.
void CompletionParser::tag_in_content(const Item& item) {
    const DsmlTag& tag = item.tag;
    switch (tag.kind) {
        case DsmlKind::calls_start:
            if (in_block_) completion_.repairs.insert(Repair::stray_tag);
            if (!in_block_) calls_in_block_ = 0;
            in_block_ = paragraph_ = true;
            begin(State::content, true);
            if (tag.closed) close_block();
            return;
        case DsmlKind::calls_end:
            if (!in_block_) break;
            close_block();
            return;
        case DsmlKind::invoke_start:
            if (!in_block_) completion_.repairs.insert(Repair::calls_start_missing);
            open_call(tag);
            return;
        default: break;
    }
    completion_.repairs.insert(Repair::stray_tag);
    if (in_block_ || !completion_.tool_calls.empty()) begin(State::content, true);
}

void CompletionParser::pass_text(std::size_t end) {
    const std::string_view text = std::string_view(buffer_).substr(at_, end - at_);
    at_ = end;
    if (text.empty()) return;
    last_ = text.back();
    if (state_ == State::content) return pass_content(text);
    completion_.reasoning += text;
    emit(CompletionEvent::Kind::reasoning, text);
}

void CompletionParser::pass_content(std::string_view text) {
    if (in_block_) {
        completion_.repairs.insert(Repair::text_in_block);
    } else if (!completion_.tool_calls.empty()) {
        completion_.repairs.insert(Repair::text_after_calls);
    }
    const bool apart = std::exchange(paragraph_, false) && !completion_.content.empty();
    for (const std::string_view piece : {apart ? kParagraph : std::string_view(), text}) {
        if (piece.empty()) continue;
        completion_.content += piece;
        emit(CompletionEvent::Kind::content, piece);
    }
}

void CompletionParser::drop(std::size_t end, Repair repair) {
    if (end > at_) completion_.repairs.insert(repair);
    at_ = end;
}

void CompletionParser::close_block() {
    if (calls_in_block_ == 0) completion_.repairs.insert(Repair::empty_block);
    in_block_ = false;
    begin(State::content, true);
}

// JSON between the tags of a block: calls in another format, or text.
bool CompletionParser::step_block_json() {
    const std::size_t at = next_mark(at_);
    json_.append(buffer_, at_, at - at_);
    at_ = at;
    if (at == buffer_.size()) return false;
    const Item item = look(at);
    if (item.kind == Item::Kind::more) return false;
    if (item.kind == Item::Kind::tag && (!item.plain || counts(item.tag))) {
        read_block_json();
        return true;
    }
    const bool is_text = item.kind == Item::Kind::text || item.kind == Item::Kind::tag;
    if (is_text) json_.append(buffer_, at, item.length);
    at_ = at + item.length;
    return true;
}

void CompletionParser::read_block_json() {
    const std::string text = std::exchange(json_, {});
    const std::vector<JsonCall> calls = read_json_calls(text);
    const bool known = std::all_of(calls.begin(), calls.end(),
                                   [&](const JsonCall& call) { return !tools_ || tools_->find(call.name); });
    state_ = State::content;
    if (calls.empty() || !known) pass_content(trim(text));
    for (const JsonCall& call : known ? calls : std::vector<JsonCall>()) {
        completion_.repairs.insert(Repair::arguments_in_body);
        DsmlTag tag;
        tag.name = call.name;
        open_call(tag);
        call_.body(call.arguments);
        close_call();
    }
    begin(State::content, true);
}

// ---- Calls

void CompletionParser::open_call(const DsmlTag& tag) {
    state_ = State::call;
    paragraph_ = true;
    calls_in_block_++;
    call_.open(tag);
    take_call_events();
    if (tag.closed) close_call();
}

void CompletionParser::close_call(bool cut) {
    const std::optional<std::string> text = call_.close(cut);
    take_call_events();
    if (text && !text->empty()) pass_content(*text);
    paragraph_ = true;
    begin(State::content, true);
}

bool CompletionParser::step_call() {
    const std::size_t at = next_mark(at_);
    call_.body(std::string_view(buffer_).substr(at_, at - at_));
    at_ = at;
    if (at == buffer_.size()) return false;
    const Item item = look(at);
    switch (item.kind) {
        case Item::Kind::more: return false;
        case Item::Kind::tag:
            if (item.plain && !counts(item.tag)) break;
            at_ = at + item.length;
            tag_in_call(item);
            return true;
        case Item::Kind::special: at_ = at + item.length; return true;
        case Item::Kind::cut_tag: drop(buffer_.size(), Repair::truncated); return true;
        case Item::Kind::think_start:
        case Item::Kind::think_end: drop(at + item.length, Repair::stray_think_tag); return true;
        default: break;
    }
    call_.body(std::string_view(buffer_).substr(at, item.length));
    at_ = at + item.length;
    return true;
}

// A tag of a call, outside of values.
void CompletionParser::tag_in_call(const Item& item) {
    const DsmlTag& tag = item.tag;
    switch (tag.kind) {
        case DsmlKind::invoke_start:
        case DsmlKind::calls_end:
            completion_.repairs.insert(Repair::invoke_end_missing);
            close_call();
            tag_in_content(item);
            return;
        case DsmlKind::invoke_end: close_call(); return;
        case DsmlKind::parameter_start:
            if (tag.name.empty()) break;  // what it holds is the body
            open_parameter(tag.name, item);
            return;
        case DsmlKind::other_start:
            if (!call_.has_parameter(tag.word)) break;
            completion_.repairs.insert(Repair::name_misspelt);
            open_parameter(tag.word, item);
            return;
        default: break;
    }
    completion_.repairs.insert(Repair::stray_tag);
}

void CompletionParser::take_call_events() {
    for (CompletionEvent& event : call_.take()) {
        if (event.kind == CompletionEvent::Kind::call_start)
            completion_.tool_calls.push_back({event.text, {}, true});
        if (event.kind == CompletionEvent::Kind::call_arguments)
            completion_.tool_calls.back().arguments += event.text;
        emit(event.kind, event.text, completion_.tool_calls.size() - 1);
    }
}

// ---- Parameters

void CompletionParser::open_parameter(const std::string& name, const Item& item) {
    state_ = State::value;
    parameter_ = name;
    plain_parameter_ = item.plain;
    value_empty_ = true;
    scanned_ = 0;
    call_.open_parameter(name, item.tag.is_string);
    for (const auto& [key, value] : item.tag.attributes)
        if (item.tag.closed && key == "value") call_.value(value);
    if (item.tag.closed) close_parameter();
    take_call_events();
}

void CompletionParser::close_parameter() {
    state_ = State::call;
    call_.close_parameter();
    take_call_events();
}

// Whether the call's or the block's end in the middle of a line, where `at` is behind it, is one, and not text: the next tag
// is not the value's end. Goes on where it stopped for want of text.
CompletionParser::Answer CompletionParser::goes_on_without_end(std::size_t at) {
    for (std::size_t mark = next_mark(at + scanned_); mark < buffer_.size();) {
        const Item item = look(mark);
        scanned_ = mark - at;
        if (item.kind == Item::Kind::more) return Answer::more;
        const bool tag = item.kind == Item::Kind::tag && !item.plain;
        if (tag && item.tag.kind == DsmlKind::parameter_end) return Answer::no;
        if (tag && (item.tag.kind == DsmlKind::invoke_start || item.tag.kind == DsmlKind::calls_end))
            return Answer::yes;
        mark = next_mark(mark + std::max<std::size_t>(item.length, 1));
    }
    scanned_ = buffer_.size() - at;
    return ended_ ? Answer::yes : Answer::more;
}

CompletionParser::Answer CompletionParser::ends_value(const Item& item, std::size_t end, bool line_start) {
    const DsmlTag& tag = item.tag;
    const bool closes = tag.kind == DsmlKind::parameter_end;
    if (item.plain && !plain_parameter_) {
        if (!closes) return Answer::no;
        return followed_by(end, {DsmlKind::parameter_start, DsmlKind::invoke_start, DsmlKind::invoke_end,
                                 DsmlKind::calls_end});
    }
    switch (tag.kind) {
        case DsmlKind::parameter_end: return Answer::yes;
        case DsmlKind::calls_start: return Answer::no;
        case DsmlKind::other_start:
            return line_start && call_.has_parameter(tag.word) ? Answer::yes : Answer::no;
        case DsmlKind::other_end:
            if (tag.word == parameter_) return Answer::yes;
            return followed_by(end, {DsmlKind::parameter_start, DsmlKind::invoke_end, DsmlKind::calls_end});
        case DsmlKind::parameter_start:
            return line_start || call_.has_parameter(tag.name) ? Answer::yes : Answer::no;
        case DsmlKind::invoke_start:
            return line_start || (tools_ && tools_->find(tag.name)) ? Answer::yes : Answer::no;
        case DsmlKind::invoke_end:
        case DsmlKind::calls_end: return line_start ? Answer::yes : goes_on_without_end(end);
    }
    CACHALOT_CHECK(!"a value of DsmlKind");
}

bool CompletionParser::step_value() {
    const std::size_t at = next_mark(at_);
    const std::size_t end_of_value = before_newlines(at, 1);
    if (at == buffer_.size()) {
        pass_value(ended_ ? at : end_of_value);
        return false;
    }
    const bool line_start = end_of_value < at || (at == at_ && value_empty_);
    const Item item = look(at);
    const std::size_t end = at + item.length;
    Answer ends = Answer::no;
    if (item.kind == Item::Kind::more) ends = Answer::more;
    if (item.kind == Item::Kind::tag) ends = ends_value(item, end, line_start);
    // EOS counts at the end only, so whether it does is not known before.
    const bool last = item.kind == Item::Kind::special && end == buffer_.size();
    if (last && !ended_) ends = Answer::more;
    if (ends == Answer::more) {
        pass_value(end_of_value);
        return false;
    }
    scanned_ = 0;
    if (ends == Answer::yes) {
        const bool proper = item.tag.kind == DsmlKind::parameter_end || item.tag.kind == DsmlKind::other_end;
        pass_value(proper ? at : end_of_value);
        close_parameter();
        at_ = proper ? end : at;  // any other tag is the call's business
        if (!proper) completion_.repairs.insert(Repair::parameter_end_missing);
    } else if (last || item.kind == Item::Kind::cut_tag) {
        pass_value(last ? at : end_of_value);
        at_ = buffer_.size();
    } else {
        pass_value(at + std::max<std::size_t>(item.length, 1));
    }
    return true;
}

void CompletionParser::pass_value(std::size_t end) {
    const std::string_view text = std::string_view(buffer_).substr(at_, end - at_);
    at_ = end;
    if (text.empty()) return;
    value_empty_ = false;
    call_.value(text);
    take_call_events();
}

void CompletionParser::emit(CompletionEvent::Kind kind, std::string_view text, std::size_t call) {
    const bool delta = kind != CompletionEvent::Kind::call_start && kind != CompletionEvent::Kind::call_end;
    if (delta && !events_.empty() && events_.back().kind == kind && events_.back().call == call) {
        events_.back().text += text;
    } else {
        events_.push_back({kind, std::string(text), call});
    }
}

Completion parse_completion(std::string_view text, bool in_reasoning,
                            std::shared_ptr<const ToolSchemas> tools) {
    CompletionParser parser(in_reasoning, std::move(tools));
    parser.feed(text);
    parser.finish();
    return parser.completion();
}

}  // namespace cachalot
