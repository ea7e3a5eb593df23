#include "service/answer_events.h"

#include "engine/call_rules.h"
#include "service/random_id.h"

namespace cachalot::server {

AnswerEvents::AnswerEvents(QueuedJob& job, const Request& request, int choice,
                           std::optional<bool> in_reasoning)
    : job_(job),
      request_(request),
      choice_(choice),
      raw_(!in_reasoning),
      parser_(in_reasoning.value_or(false),
              offered_tools(request.conversation, request.tool_choice != ToolChoice::none),
              request.chat.format, request.form ? ContentKind::formed : ContentKind::free),
      stops_(request.generation.stops) {}

bool AnswerEvents::feed(const std::string& text) {
    if (cut_) return false;
    if (request_.generation.top_logprobs >= 0) text_ += text;
    if (raw_) {
        send_content(text);
    } else {
        for (const auto& event : parser_.feed(text))
            if (!cut_) send(event);
    }
    return !cut_;
}

void AnswerEvents::end_text(bool cut) {
    if (!raw_)
        for (const auto& event : parser_.finish(cut))
            if (!cut_) send(event);
    if (!cut_) release_content();
}

void AnswerEvents::finish(FinishReason reason, std::vector<std::int32_t> tokens) {
    Event event{Event::Kind::finished};
    event.tokens = std::move(tokens);
    event.choice = choice_;
    event.stop_text = stops_.matched();
    if (!event.stop_text.empty())
        event.finish_reason = "stop";
    else if (cut_)
        event.finish_reason = "tool_calls";
    else
        event.finish_reason = name(reason);
    if (!cut_ && event.finish_reason == "stop" && !call_ids_.empty()) event.finish_reason = "tool_calls";
    job_.send(event);
}

void AnswerEvents::send(const CompletionEvent& parsed) {
    using Kind = CompletionEvent::Kind;
    if (parsed.kind == Kind::reasoning) return send_text(Event::Kind::reasoning, parsed.text);
    if (parsed.kind == Kind::content) return send_content(parsed.text);
    release_content();
    Event event{parsed.kind == Kind::call_start       ? Event::Kind::call_start
                : parsed.kind == Kind::call_arguments ? Event::Kind::call_arguments
                                                      : Event::Kind::call_end};
    event.choice = choice_;
    event.call = parsed.call;
    event.text = parsed.text;
    if (parsed.kind == Kind::call_start) call_ids_.push_back(random_id("call_"));
    event.id = call_ids_.back();
    job_.send(event);
    if (parsed.kind == Kind::call_end && !request_.parallel_tool_calls) cut_ = true;
}

void AnswerEvents::send_content(const std::string& text) {
    auto released = stops_.push(text);
    send_text(Event::Kind::content, released.text);
    if (released.matched) cut_ = true;
}

// What was held back began no stop string after all.
void AnswerEvents::release_content() {
    auto held = stops_.finish();
    if (held.empty()) return;
    send_text(Event::Kind::content, held);
    stops_ = StopMatcher(request_.generation.stops);
}

void AnswerEvents::send_text(Event::Kind kind, const std::string& text) {
    if (text.empty()) return;
    Event event{kind};
    event.choice = choice_;
    event.text = text;
    event.logprobs = logprobs_of_text(text);
    job_.send(event);
}

// The events' texts are stretches of the answer in its order; what lies between them was dropped.
std::vector<Logprobs> AnswerEvents::logprobs_of_text(const std::string& text) {
    std::vector<Logprobs> found;
    auto at = text_.find(text);
    if (at == std::string::npos) return found;
    auto begin = text_start_ + at, end = begin + text.size();
    for (; !logprobs_.empty() && logprobs_.front().offset < end; logprobs_.pop_front())
        if (logprobs_.front().offset >= begin) found.push_back(std::move(logprobs_.front().logprobs));
    text_.erase(0, at + text.size());
    text_start_ = end;
    return found;
}

}  // namespace cachalot::server
