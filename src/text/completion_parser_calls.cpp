// The half of the parser (completion_parser.h) that is at work between an invoke's tags.
#include <algorithm>

#include "base/error.h"
#include "text/completion_parser.h"

namespace cachalot {

using Answer = MarkReader::Answer;

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
    const std::size_t at = marks().find(at_);
    call_.body(std::string_view(buffer_).substr(at_, at - at_));
    at_ = at;
    if (at == buffer_.size()) return false;
    Mark item = marks().look(at);
    const Answer alone = stands_alone(item, at + item.length);
    if (alone == Answer::more) return false;
    switch (item.kind) {
        case Mark::Kind::more: return false;
        case Mark::Kind::tag:
            if (item.plain && !counts(item.tag)) break;
            if (alone == Answer::no) item.tag.closed = false;
            check_spelling(item, at);
            at_ = at + item.length;
            tag_in_call(item);
            return true;
        case Mark::Kind::special: at_ = at + item.length; return true;
        case Mark::Kind::cut_tag: drop(buffer_.size(), Repair::truncated); return true;
        case Mark::Kind::think_start:
        case Mark::Kind::think_end: drop(at + item.length, Repair::stray_think_tag); return true;
        default: break;
    }
    call_.body(std::string_view(buffer_).substr(at, item.length));
    at_ = at + item.length;
    return true;
}

// A tag of a call, outside of values.
void CompletionParser::tag_in_call(const Mark& item) {
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
            if (tag.word.empty()) call_.broken_tag();
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
        emit_content(filter_.flush());  // the call parts it from what follows
        if (event.kind == CompletionEvent::Kind::call_start)
            completion_.tool_calls.push_back({event.text, {}, true});
        if (event.kind == CompletionEvent::Kind::call_arguments)
            completion_.tool_calls.back().arguments += event.text;
        emit(event.kind, event.text, completion_.tool_calls.size() - 1);
    }
}

// ---- Parameters

void CompletionParser::open_parameter(const std::string& name, const Mark& item) {
    state_ = State::value;
    parameter_ = name;
    plain_parameter_ = item.plain;
    value_empty_ = true;
    scanned_ = 0;
    std::string_view attribute;
    for (const auto& [key, value] : item.tag.attributes)
        if (key == "value") attribute = value;
    call_.open_parameter(name, item.tag.is_string, attribute);
    if (item.tag.closed) close_parameter();
    take_call_events();
}

void CompletionParser::close_parameter() {
    state_ = State::call;
    call_.close_parameter();
    take_call_events();
}

// Whether the call's or the block's end in the middle of a line, where `at` is behind it, is one, and not
// text: the next tag is not the value's end. Goes on where it stopped for want of text.
Answer CompletionParser::goes_on_without_end(std::size_t at) {
    for (std::size_t mark = marks().find(at + scanned_); mark < buffer_.size();) {
        const Mark item = marks().look(mark);
        scanned_ = mark - at;
        if (item.kind == Mark::Kind::more) return Answer::more;
        const bool tag = item.kind == Mark::Kind::tag && !item.plain;
        if (tag && item.tag.kind == DsmlKind::parameter_end) return Answer::no;
        if (tag && (item.tag.kind == DsmlKind::invoke_start || item.tag.kind == DsmlKind::calls_end))
            return Answer::yes;
        mark = marks().find(mark + std::max<std::size_t>(item.length, 1));
    }
    scanned_ = buffer_.size() - at;
    return ended_ ? Answer::yes : Answer::more;
}

Answer CompletionParser::ends_value(const Mark& item, std::size_t end, bool line_start) {
    const DsmlTag& tag = item.tag;
    const bool closes = tag.kind == DsmlKind::parameter_end;
    if (item.plain && !plain_parameter_) {
        if (!closes) return Answer::no;
        return marks().followed_by(end, {DsmlKind::parameter_start, DsmlKind::invoke_start,
                                         DsmlKind::invoke_end, DsmlKind::calls_end});
    }
    switch (tag.kind) {
        case DsmlKind::parameter_end: return Answer::yes;
        case DsmlKind::calls_start: return Answer::no;
        case DsmlKind::other_start:
            return line_start && call_.has_parameter(tag.word) ? Answer::yes : Answer::no;
        case DsmlKind::other_end:
            if (tag.word == parameter_) return Answer::yes;
            return marks().followed_by(
                end, {DsmlKind::parameter_start, DsmlKind::invoke_end, DsmlKind::calls_end});
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
    const std::size_t at = marks().find(at_);
    const std::size_t end_of_value = before_newlines(at, 1);
    if (at == buffer_.size()) {
        pass_value(ended_ ? at : end_of_value);
        return false;
    }
    const bool line_start = end_of_value < at || (at == at_ && value_empty_);
    const Mark item = marks().look(at);
    const std::size_t end = at + item.length;
    Answer ends = Answer::no;
    if (item.kind == Mark::Kind::more) ends = Answer::more;
    if (item.kind == Mark::Kind::tag) ends = ends_value(item, end, line_start);
    // EOS counts at the end only, so whether it does is not known before.
    const bool last = item.kind == Mark::Kind::special && end == buffer_.size();
    if (last && !ended_) ends = Answer::more;
    if (ends == Answer::more) {
        pass_value(end_of_value);
        return false;
    }
    scanned_ = 0;
    if (ends == Answer::yes) {
        const bool proper = item.tag.kind == DsmlKind::parameter_end || item.tag.kind == DsmlKind::other_end;
        if (proper) check_spelling(item, at);
        pass_value(proper ? at : end_of_value);
        close_parameter();
        at_ = proper ? end : at;  // any other tag is the call's business
        if (!proper) completion_.repairs.insert(Repair::parameter_end_missing);
    } else if (last || item.kind == Mark::Kind::cut_tag) {
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

}  // namespace cachalot
