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

using Answer = MarkReader::Answer;

namespace {

constexpr std::size_t kMaxHeadSpace = 8;   // before a stray think tag
constexpr std::size_t kBlockNewlines = 2;  // before a block, belonging to it
constexpr std::string_view kSpaces = " \t\r\n";
constexpr std::string_view kParagraph = "\n\n";

bool is_space(char c) { return kSpaces.find(c) != std::string_view::npos; }

std::string_view trim(std::string_view text) {
    const std::size_t start = text.find_first_not_of(kSpaces);
    if (start == std::string_view::npos) return {};
    return text.substr(start, text.find_last_not_of(kSpaces) - start + 1);
}

}  // namespace

CompletionParser::CompletionParser(bool in_reasoning, std::shared_ptr<const ToolSchemas> tools,
                                   ChatFormat format, ContentKind content)
    : state_(in_reasoning ? State::reasoning : State::content),
      kind_(content),
      tools_(std::move(tools)),
      format_(format),
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
    emit_reasoning(reasoning_filter_.flush());
    emit_content(filter_.flush());
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
        case State::content:
            if (kind_ == ContentKind::formed) return step_form();
            [[fallthrough]];
        case State::reasoning: return head_ ? step_head() : step_text();
        case State::block_json: return step_block_json();
        case State::call: return step_call();
        case State::value: return step_value();
    }
    CACHALOT_CHECK(!"a state");
}

// ---- Looking ahead

// Whether a tag at `at` begins a block where it might be text.
Answer CompletionParser::begins_block(const Mark& item, std::size_t at) const {
    if (item.kind == Mark::Kind::more) return Answer::more;
    if (item.kind != Mark::Kind::tag || item.tag.kind != DsmlKind::calls_start) return Answer::no;
    const char before = at > at_ ? buffer_[at - 1] : last_;
    if (item.plain) {
        if (before != '\n' || !tools_) return Answer::no;
        const Mark next = marks().next(at + item.length);
        if (next.kind == Mark::Kind::more) return Answer::more;
        const bool call = next.kind == Mark::Kind::tag && next.tag.kind == DsmlKind::invoke_start;
        return call && tools_->find(next.tag.name) ? Answer::yes : Answer::no;
    }
    if (std::string_view("\n.:!?").find(before) == std::string_view::npos) return Answer::no;
    return marks().followed_by(at + item.length,
                               {DsmlKind::invoke_start, DsmlKind::calls_end, DsmlKind::calls_start});
}

// Whether a tag without the sentinel counts in a call. Between the calls of a block all of them do.
bool CompletionParser::counts(const DsmlTag& tag) const {
    if (tag.kind == DsmlKind::invoke_start) return !tools_ || tools_->find(tag.name);
    return tag.kind != DsmlKind::calls_start;
}

// Whether nothing belongs to an invoke that closes itself, where `end` is behind it.
Answer CompletionParser::stands_alone(const Mark& item, std::size_t end) const {
    if (item.tag.kind != DsmlKind::invoke_start || !item.tag.closed) return Answer::yes;
    const Mark next = marks().next(end);
    if (next.kind == Mark::Kind::more) return Answer::more;
    const bool inside = next.kind == Mark::Kind::tag &&
                        (next.tag.kind == DsmlKind::parameter_start || next.tag.kind == DsmlKind::invoke_end);
    return inside ? Answer::no : Answer::yes;
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
    const Mark item = marks().look(start);
    const bool opens = item.kind == Mark::Kind::think_start;
    if (item.kind == Mark::Kind::more) {
        head_ = true;
        return false;
    }
    if (opens || (item.kind == Mark::Kind::think_end && state_ == State::content)) {
        drop(start + item.length, Repair::stray_think_tag);
        head_ = true;
        if (opens && !in_block_) begin(State::reasoning, false);
    }
    return true;
}

bool CompletionParser::step_text() {
    const std::size_t at = marks().find(at_);
    const std::size_t end_of_text = before_newlines(at, kBlockNewlines);
    if (at == buffer_.size()) {
        pass_text(ended_ ? at : end_of_text);
        return false;
    }
    Mark item = marks().look(at);
    const bool in_reasoning = state_ == State::reasoning;
    const bool may_be_text = in_reasoning || (item.plain && !in_block_);
    Answer block = may_be_text || item.kind == Mark::Kind::more ? begins_block(item, at) : Answer::no;
    const Answer alone = may_be_text ? Answer::yes : stands_alone(item, at + item.length);
    if (block == Answer::more || alone == Answer::more) {
        pass_text(end_of_text);
        return false;
    }
    switch (item.kind) {
        case Mark::Kind::think_end:
            pass_text(at);
            if (in_reasoning) {
                leave_reasoning();
                at_ = at + item.length;
                begin(State::content, false);
                return true;
            }
            paragraph_ = true;
            drop(at + item.length, Repair::stray_think_tag);
            begin(State::content, true);
            return true;
        case Mark::Kind::think_start:
            pass_text(at);
            drop(at + item.length, Repair::stray_think_tag);
            return true;
        case Mark::Kind::special:
            pass_text(at);
            if (std::string_view(buffer_).substr(at, item.length) != kEosText)
                completion_.repairs.insert(Repair::special_token);
            at_ = at + item.length;
            return true;
        case Mark::Kind::cut_tag:
            pass_text(end_of_text);
            drop(buffer_.size(), Repair::truncated);
            return true;
        case Mark::Kind::tag:
            if (may_be_text && block == Answer::no) break;
            if (alone == Answer::no) item.tag.closed = false;
            check_spelling(item, at);
            pass_text(item.tag.kind == DsmlKind::calls_start || item.tag.kind == DsmlKind::invoke_start
                          ? end_of_text
                          : at);
            if (in_reasoning) {
                leave_reasoning();
                completion_.repairs.insert(Repair::think_end_missing);
            }
            at_ = at + item.length;
            state_ = State::content;
            tag_in_content(item);
            return true;
        default: break;
    }
    pass_text(at + item.length);
    return true;
}

// Content that has a form. A block that it begins with, or that has ended the reasoning, ends that.
bool CompletionParser::step_form() {
    const std::string_view text = std::string_view(buffer_).substr(at_);
    const std::string_view block = protocol_of(format_).calls_start;
    const bool may_call = !form_begun_ && tools_ && tools_->callable() && !tools_->all().empty();
    if (in_block_ || !completion_.tool_calls.empty() || (may_call && text.starts_with(block))) {
        kind_ = ContentKind::free;
        return true;
    }
    if (may_call && !ended_ && block.starts_with(text)) return false;
    form_begun_ = true;
    at_ = buffer_.size();
    emit_content(text);
    return false;
}

// A tag outside of calls.
void CompletionParser::tag_in_content(const Mark& item) {
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
    pass_reasoning(text);
}

void CompletionParser::pass_reasoning(std::string_view text) {
    if (std::exchange(reasoning_parted_, false)) emit_reasoning(reasoning_filter_.feed(kParagraph));
    emit_reasoning(reasoning_filter_.feed(text));
}

void CompletionParser::emit_reasoning(std::string_view text) {
    if (text.empty()) return;
    completion_.reasoning += text;
    emit(CompletionEvent::Kind::reasoning, text);
}

// What was held back comes before the content. Should reasoning begin once more, the two must not join to a
// mark.
void CompletionParser::leave_reasoning() {
    reasoning_parted_ = !reasoning_filter_.empty();
    emit_reasoning(reasoning_filter_.flush());
}

void CompletionParser::pass_content(std::string_view text) {
    if (in_block_) {
        completion_.repairs.insert(Repair::text_in_block);
    } else if (!completion_.tool_calls.empty()) {
        completion_.repairs.insert(Repair::text_after_calls);
    }
    const bool first = completion_.content.empty() && filter_.empty();
    if (std::exchange(paragraph_, false) && !first) emit_content(filter_.feed(kParagraph));
    emit_content(filter_.feed(text));
}

void CompletionParser::emit_content(std::string_view text) {
    if (filter_.take_dropped()) completion_.repairs.insert(Repair::stray_tag);
    if (text.empty()) return;
    completion_.content += text;
    emit(CompletionEvent::Kind::content, text);
}

void CompletionParser::drop(std::size_t end, Repair repair) {
    if (end > at_) completion_.repairs.insert(repair);
    at_ = end;
}

// What a model wrote in the spelling of another one is better not shown to it again. V4 has been seen to
// write so many that none is worth a word.
void CompletionParser::check_spelling(const Mark& item, std::size_t at) {
    if (format_ != ChatFormat::v41 || item.kind != Mark::Kind::tag) return;
    if (!protocol_of(format_).spells(std::string_view(buffer_).substr(at, item.length)))
        completion_.repairs.insert(Repair::tag_of_other_format);
}

void CompletionParser::close_block() {
    if (calls_in_block_ == 0) completion_.repairs.insert(Repair::empty_block);
    in_block_ = false;
    begin(State::content, true);
}

// JSON between the tags of a block: calls in another format, or text.
bool CompletionParser::step_block_json() {
    const std::size_t at = marks().find(at_);
    json_.append(buffer_, at_, at - at_);
    at_ = at;
    if (at == buffer_.size()) return false;
    const Mark item = marks().look(at);
    if (item.kind == Mark::Kind::more) return false;
    if (item.kind == Mark::Kind::tag) {
        read_block_json();
        return true;
    }
    if (item.kind == Mark::Kind::text) json_.append(buffer_, at, item.length);
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

void CompletionParser::emit(CompletionEvent::Kind kind, std::string_view text, std::size_t call) {
    const bool delta = kind != CompletionEvent::Kind::call_start && kind != CompletionEvent::Kind::call_end;
    if (delta && !events_.empty() && events_.back().kind == kind && events_.back().call == call) {
        events_.back().text += text;
    } else {
        events_.push_back({kind, std::string(text), call});
    }
}

Completion parse_completion(std::string_view text, bool in_reasoning,
                            std::shared_ptr<const ToolSchemas> tools, ChatFormat format) {
    CompletionParser parser(in_reasoning, std::move(tools), format);
    parser.feed(text);
    parser.finish();
    return parser.completion();
}

}  // namespace cachalot
