// The parser is a state machine over a buffer of undecided text. step() decides on the next stretch, or
// returns false if the text so far allows of more than one decision. A decision looks at nothing but the text
// it is about, never at where the buffer happens to end; that alone makes the result independent of the
// chunks.
//
//     reasoning ──</think>──► content ◄─────────────────┐
//         └────block────┐       │ block, bare invoke    │ block's end
//                       ▼       ▼                       │
//                      block ◄──────► invoke ◄──────► string_value, json_value
#include "text/completion_parser.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/chat_json.h"
#include "text/prompt_protocol.h"

namespace cachalot {

namespace {

constexpr std::size_t kMaxHeadSpace = 8;   // before a stray think tag
constexpr std::size_t kMaxTagSpace = 64;   // between a tag and the one that shows what it is
constexpr std::size_t kBlockNewlines = 2;  // before a block, belonging to it
constexpr std::string_view kSpaces = " \t\r\n";

bool is_space(char c) { return kSpaces.find(c) != std::string_view::npos; }

std::string_view trim(std::string_view text) {
    const std::size_t start = text.find_first_not_of(kSpaces);
    if (start == std::string_view::npos) return {};
    return text.substr(start, text.find_last_not_of(kSpaces) - start + 1);
}

}  // namespace

CompletionParser::CompletionParser(bool in_reasoning)
    : state_(in_reasoning ? State::reasoning : State::content) {}

std::vector<CompletionEvent> CompletionParser::feed(std::string_view text) {
    CACHALOT_CHECK(!ended_);
    buffer_ += text;
    return advance();
}

std::vector<CompletionEvent> CompletionParser::finish() {
    CACHALOT_CHECK(!ended_);
    ended_ = true;
    std::vector<CompletionEvent> events = advance();
    if (state_ == State::reasoning) completion_.repairs.insert(Repair::think_end_missing);
    const bool in_value = state_ == State::string_value || state_ == State::json_value;
    if (in_value) close_parameter();
    if (in_value || state_ == State::invoke) {
        completion_.repairs.insert(Repair::truncated);
        completion_.tool_calls.back().complete = false;
        close_call();
    } else if (state_ == State::block) {
        completion_.repairs.insert(calls_in_block_ > 0 ? Repair::calls_end_missing : Repair::truncated);
    }
    events.insert(events.end(), events_.begin(), events_.end());
    events_.clear();
    return events;
}

std::vector<CompletionEvent> CompletionParser::advance() {
    while (at_ < buffer_.size() && step()) {
    }
    buffer_.erase(0, at_);
    at_ = 0;
    return std::exchange(events_, {});
}

bool CompletionParser::step() {
    switch (state_) {
        case State::reasoning:
        case State::content: return head_ ? step_head() : step_text();
        case State::block:
        case State::invoke: return step_tags();
        case State::string_value:
        case State::json_value: return step_value();
    }
    CACHALOT_CHECK(!"a state");
}

// ---- Looking ahead

CompletionParser::Item CompletionParser::look(std::size_t at) const {
    using Kind = Item::Kind;
    const std::string_view text = std::string_view(buffer_).substr(at);
    bool more = false;
    for (const auto& [token, kind] :
         {std::pair{kThinkStart, Kind::think_start}, std::pair{kThinkEnd, Kind::think_end},
          std::pair{kEosText, Kind::eos}}) {
        if (text.substr(0, token.size()) == token.substr(0, text.size())) {
            // EOS counts at the end only, so whether it does is not known before.
            if (text.size() < token.size() || (kind == Kind::eos && text.size() == token.size() && !ended_)) {
                more = true;
            } else if (kind != Kind::eos || text.size() == token.size()) {
                return {kind, token.size(), {}};
            }
        }
    }
    DsmlMatch match = match_dsml_tag(text);
    if (match.state == DsmlMatch::State::tag) return {Kind::tag, match.length, std::move(match.tag)};
    more |= match.state == DsmlMatch::State::partial;
    if (more && !ended_) return {Kind::more, 0, {}};
    if (match.state == DsmlMatch::State::partial && match.sentinel) return {Kind::cut_tag, text.size(), {}};
    return {Kind::text, 1, {}};
}

// Whether one of these tags, or the end of the text, is the next thing after the white space at `at`.
CompletionParser::Answer CompletionParser::followed_by(std::size_t at,
                                                       std::initializer_list<DsmlKind> kinds) const {
    std::size_t spaces = 0;
    while (at + spaces < buffer_.size() && is_space(buffer_[at + spaces]))
        if (++spaces > kMaxTagSpace) return Answer::no;
    if (at + spaces == buffer_.size()) return ended_ ? Answer::yes : Answer::more;
    if (buffer_[at + spaces] != '<') return Answer::no;
    const Item next = look(at + spaces);
    switch (next.kind) {
        case Item::Kind::more: return Answer::more;
        case Item::Kind::eos:
        case Item::Kind::cut_tag: return Answer::yes;
        case Item::Kind::tag:
            return std::find(kinds.begin(), kinds.end(), next.tag.kind) != kinds.end() ? Answer::yes
                                                                                       : Answer::no;
        default: break;
    }
    // At the end of the text the beginning of a tag will do.
    const std::string_view rest = std::string_view(buffer_).substr(at + spaces);
    return ended_ && match_dsml_tag(rest).state == DsmlMatch::State::partial ? Answer::yes : Answer::no;
}

CompletionParser::Answer CompletionParser::starts_block(const DsmlTag& tag, std::size_t end,
                                                        bool line_start) const {
    if (tag.kind == DsmlKind::calls_start && (state_ == State::content || line_start))
        return followed_by(end, {DsmlKind::invoke_start, DsmlKind::calls_end, DsmlKind::calls_start});
    if (tag.kind == DsmlKind::invoke_start && state_ == State::content)
        return followed_by(end, {DsmlKind::parameter_start, DsmlKind::invoke_end});
    return Answer::no;
}

CompletionParser::Answer CompletionParser::ends_value(const DsmlTag& tag, std::size_t end,
                                                      bool line_start) const {
    if (tag.kind == DsmlKind::parameter_end) return Answer::yes;
    if (tag.kind == DsmlKind::calls_start) return Answer::no;
    if (line_start) return Answer::yes;
    if (tag.kind == DsmlKind::invoke_end)
        return followed_by(end, {DsmlKind::invoke_start, DsmlKind::calls_end});
    if (tag.kind == DsmlKind::calls_end) return followed_by(end, {});
    return Answer::no;
}

// `at` moved back over the line breaks before it, at most `limit`.
std::size_t CompletionParser::before_newlines(std::size_t at, std::size_t limit) const {
    for (; limit > 0 && at > at_ && buffer_[at - 1] == '\n'; limit--) at--;
    return at;
}

// ---- Reasoning and content

void CompletionParser::start_reasoning_or_content(State state) {
    state_ = state;
    head_ = true;
    after_block_ = false;
}

bool CompletionParser::step_head() {
    std::size_t start = at_;
    while (start < buffer_.size() && is_space(buffer_[start])) start++;
    if (after_block_) at_ = start;
    if (start == buffer_.size() && start - at_ <= kMaxHeadSpace && !ended_) return false;
    head_ = false;
    if (start == buffer_.size() || start - at_ > kMaxHeadSpace || buffer_[start] != '<') return true;
    const Item item = look(start);
    const bool opens = item.kind == Item::Kind::think_start;
    if (item.kind == Item::Kind::more) {
        head_ = true;
        return false;
    }
    if (opens || (item.kind == Item::Kind::think_end && state_ == State::content)) {
        drop(start + item.length, Repair::stray_think_tag);
        head_ = true;
        if (opens) start_reasoning_or_content(State::reasoning);
    }
    return true;
}

bool CompletionParser::step_text() {
    const std::size_t at = buffer_.find('<', at_);
    if (at == std::string::npos) {
        pass_text(ended_ ? buffer_.size() : before_newlines(buffer_.size(), kBlockNewlines));
        return false;
    }
    const std::size_t end_of_text = before_newlines(at, kBlockNewlines);
    const bool line_start = end_of_text < at || (at == at_ && completion_.reasoning.empty());
    const Item item = look(at);
    Answer block = Answer::no;
    if (item.kind == Item::Kind::more) block = Answer::more;
    if (item.kind == Item::Kind::tag) block = starts_block(item.tag, at + item.length, line_start);
    if (block == Answer::more) {
        pass_text(end_of_text);
        return false;
    }
    if (block == Answer::yes) {
        pass_text(end_of_text);
        if (state_ == State::reasoning) completion_.repairs.insert(Repair::think_end_missing);
        open_block(item.tag.kind == DsmlKind::calls_start);
        if (wrapped_) {
            at_ = at + item.length;
        } else {
            at_ = at;  // the invoke is the first tag of the block
            completion_.repairs.insert(Repair::calls_start_missing);
        }
        return true;
    }
    if (item.kind == Item::Kind::eos) {
        pass_text(at);
        at_ = buffer_.size();
    } else if (item.kind == Item::Kind::think_end && state_ == State::reasoning) {
        pass_text(at);
        at_ = at + item.length;
        start_reasoning_or_content(State::content);
    } else if (item.kind == Item::Kind::cut_tag) {
        pass_text(end_of_text);
        drop(buffer_.size(), Repair::truncated);
    } else if (item.kind == Item::Kind::tag && state_ == State::content && !completion_.tool_calls.empty()) {
        pass_text(at);
        drop(at + item.length, Repair::stray_tag);
        head_ = after_block_ = true;  // the white space after it goes too
    } else {
        if (item.kind == Item::Kind::tag && state_ == State::content)
            completion_.repairs.insert(Repair::tag_as_text);
        pass_text(at + 1);
    }
    return true;
}

void CompletionParser::pass_text(std::size_t end) {
    const std::string_view text = std::string_view(buffer_).substr(at_, end - at_);
    at_ = end;
    if (text.empty()) return;
    if (state_ == State::reasoning) {
        completion_.reasoning += text;
        emit(CompletionEvent::Kind::reasoning, text);
    } else {
        if (!completion_.tool_calls.empty()) completion_.repairs.insert(Repair::text_after_calls);
        completion_.content += text;
        emit(CompletionEvent::Kind::content, text);
    }
}

void CompletionParser::drop(std::size_t end, Repair repair) {
    if (end > at_) completion_.repairs.insert(repair);
    at_ = end;
}

// ---- Blocks and calls

void CompletionParser::open_block(bool wrapped) {
    state_ = State::block;
    wrapped_ = wrapped;
    calls_in_block_ = 0;
}

void CompletionParser::close_block() {
    if (calls_in_block_ == 0) completion_.repairs.insert(Repair::empty_block);
    start_reasoning_or_content(State::content);
    after_block_ = true;
}

bool CompletionParser::step_tags() {
    std::size_t at = at_;
    while (at < buffer_.size() && is_space(buffer_[at])) at++;
    at_ = at;
    at = std::min(buffer_.find('<', at), buffer_.size());
    drop(at, Repair::text_in_block);
    if (at == buffer_.size()) return false;
    const Item item = look(at);
    switch (item.kind) {
        case Item::Kind::more: return false;
        case Item::Kind::eos: at_ = buffer_.size(); return true;
        case Item::Kind::tag:
            at_ = at + item.length;
            handle_tag(item.tag);
            return true;
        case Item::Kind::cut_tag: drop(buffer_.size(), Repair::truncated); return true;
        case Item::Kind::think_start:
        case Item::Kind::think_end: drop(at + item.length, Repair::stray_think_tag); return true;
        default: drop(at + 1, Repair::text_in_block); return true;
    }
}

// A tag of a block, outside of values.
void CompletionParser::handle_tag(const DsmlTag& tag) {
    const bool in_call = state_ == State::invoke;
    switch (tag.kind) {
        case DsmlKind::invoke_start:
            if (in_call) {
                completion_.repairs.insert(Repair::invoke_end_missing);
                close_call();
            }
            open_call(tag.name);
            return;
        case DsmlKind::invoke_end:
            if (!in_call) break;
            close_call();
            if (wrapped_) {
                state_ = State::block;
            } else {
                close_block();
            }
            return;
        case DsmlKind::calls_end:
            if (in_call) {
                completion_.repairs.insert(Repair::invoke_end_missing);
                close_call();
            }
            close_block();
            return;
        case DsmlKind::parameter_start:
            if (!in_call) break;
            open_parameter(tag);
            return;
        default: break;
    }
    completion_.repairs.insert(Repair::stray_tag);
}

void CompletionParser::open_call(const std::string& name) {
    state_ = State::invoke;
    calls_in_block_++;
    parameters_.clear();
    completion_.tool_calls.push_back({name, {}, true});
    emit(CompletionEvent::Kind::call_start, name, completion_.tool_calls.size() - 1);
}

void CompletionParser::close_call() {
    emit_arguments(completion_.tool_calls.back().arguments.empty() ? "{}" : "}");
    emit(CompletionEvent::Kind::call_end, {}, completion_.tool_calls.size() - 1);
}

// ---- Parameters

void CompletionParser::open_parameter(const DsmlTag& tag) {
    state_ = tag.is_string.value_or(false) ? State::string_value : State::json_value;
    attribute_missing_ = !tag.is_string;
    value_empty_ = true;
    json_value_.clear();
    discard_value_ = !parameters_.insert(tag.name).second;
    if (discard_value_) {
        completion_.repairs.insert(Repair::duplicate_parameter);
        return;
    }
    const bool first = completion_.tool_calls.back().arguments.empty();
    emit_arguments((first ? "{" : ", ") + json_string(tag.name) + ": ");
    if (state_ == State::string_value) emit_arguments("\"");
}

bool CompletionParser::step_value() {
    const std::size_t at = buffer_.find('<', at_);
    if (at == std::string::npos) {
        pass_value(ended_ ? buffer_.size() : before_newlines(buffer_.size(), 1));
        return false;
    }
    const std::size_t end_of_value = before_newlines(at, 1);
    const bool line_start = end_of_value < at || (at == at_ && value_empty_);
    const Item item = look(at);
    Answer ends = Answer::no;
    if (item.kind == Item::Kind::more) ends = Answer::more;
    if (item.kind == Item::Kind::tag) ends = ends_value(item.tag, at + item.length, line_start);
    if (ends == Answer::more) {
        pass_value(end_of_value);
        return false;
    }
    if (ends == Answer::yes) {
        const bool proper = item.tag.kind == DsmlKind::parameter_end;
        pass_value(proper ? at : end_of_value);
        close_parameter();
        if (proper) {
            at_ = at + item.length;
        } else {
            at_ = at;  // the tag is the call's business
            completion_.repairs.insert(Repair::parameter_end_missing);
        }
    } else if (item.kind == Item::Kind::eos || item.kind == Item::Kind::cut_tag) {
        pass_value(item.kind == Item::Kind::eos ? at : end_of_value);
        at_ = buffer_.size();
    } else {
        pass_value(at + 1);
    }
    return true;
}

void CompletionParser::pass_value(std::size_t end) {
    const std::string_view text = std::string_view(buffer_).substr(at_, end - at_);
    at_ = end;
    if (text.empty()) return;
    value_empty_ = false;
    if (discard_value_) return;
    if (state_ == State::json_value) {
        json_value_ += text;
    } else {
        std::string escaped;
        append_json_escaped(escaped, text);
        emit_arguments(escaped);
    }
}

void CompletionParser::close_parameter() {
    const bool is_string = std::exchange(state_, State::invoke) == State::string_value;
    if (discard_value_) return;
    if (is_string) return emit_arguments("\"");
    if (attribute_missing_) completion_.repairs.insert(Repair::string_attribute_missing);
    const std::string_view text = trim(json_value_);
    if (is_json(text)) return emit_arguments(text);
    if (!attribute_missing_) completion_.repairs.insert(Repair::invalid_json_value);
    if (text == "True") return emit_arguments("true");
    if (text == "False") return emit_arguments("false");
    if (text == "None") return emit_arguments("null");
    emit_arguments(json_string(json_value_));
}

void CompletionParser::emit_arguments(std::string_view json) {
    completion_.tool_calls.back().arguments += json;
    emit(CompletionEvent::Kind::call_arguments, json, completion_.tool_calls.size() - 1);
}

void CompletionParser::emit(CompletionEvent::Kind kind, std::string_view text, std::size_t call) {
    const bool delta = kind != CompletionEvent::Kind::call_start && kind != CompletionEvent::Kind::call_end;
    if (delta && !events_.empty() && events_.back().kind == kind && events_.back().call == call) {
        events_.back().text += text;
    } else {
        events_.push_back({kind, std::string(text), call});
    }
}

std::string_view to_string(Repair repair) {
    switch (repair) {
        case Repair::think_end_missing: return "</think> is missing";
        case Repair::stray_think_tag: return "stray think tag dropped";
        case Repair::calls_start_missing: return "<tool_calls> is missing";
        case Repair::calls_end_missing: return "</tool_calls> is missing";
        case Repair::invoke_end_missing: return "</invoke> is missing";
        case Repair::parameter_end_missing: return "</parameter> is missing";
        case Repair::string_attribute_missing: return "parameter without string attribute";
        case Repair::invalid_json_value: return "parameter value is not valid JSON";
        case Repair::duplicate_parameter: return "duplicate parameter dropped";
        case Repair::text_in_block: return "text between tags dropped";
        case Repair::stray_tag: return "stray tag dropped";
        case Repair::tag_as_text: return "tag outside of a block kept as text";
        case Repair::empty_block: return "empty block of calls";
        case Repair::text_after_calls: return "text after the calls";
        case Repair::truncated: return "ended inside a call";
    }
    CACHALOT_CHECK(!"a value of Repair");
}

Completion parse_completion(std::string_view text, bool in_reasoning) {
    CompletionParser parser(in_reasoning);
    parser.feed(text);
    parser.finish();
    return parser.completion();
}

}  // namespace cachalot
