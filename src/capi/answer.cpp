#include "capi/answer.h"

#include <chrono>

namespace cachalot::capi {
namespace {

using server::Event;

cachalot_usage usage_of(const server::Usage& u) {
    return {u.prompt_tokens, u.cached_tokens, u.completion_tokens, u.reasoning_tokens};
}

std::int32_t reason_of(const std::string& finish_reason) {
    if (finish_reason == "length") return CACHALOT_END_LENGTH;
    if (finish_reason == "tool_calls") return CACHALOT_END_CALLS;
    if (finish_reason == "cancelled") return CACHALOT_END_CANCELLED;
    return CACHALOT_END_STOP;
}

std::int32_t kind_of(Event::Kind kind) {
    switch (kind) {
        case Event::Kind::started: return CACHALOT_EVENT_STARTED;
        case Event::Kind::progress: return CACHALOT_EVENT_PROGRESS;
        case Event::Kind::reasoning: return CACHALOT_EVENT_REASONING;
        case Event::Kind::call_start: return CACHALOT_EVENT_CALL_BEGIN;
        case Event::Kind::call_arguments: return CACHALOT_EVENT_CALL_ARGUMENTS;
        case Event::Kind::call_end: return CACHALOT_EVENT_CALL_END;
        default: return CACHALOT_EVENT_CONTENT;
    }
}

cachalot_event empty_event(std::int32_t kind) {
    cachalot_event event{};
    event.size = sizeof event;
    event.kind = kind;
    event.text = event.call_id = event.stop = event.message = "";
    return event;
}

}  // namespace

// Tells when the service has let go of the sink.
class Answer::Hold {
  public:
    explicit Hold(std::shared_ptr<Answer> answer) : answer_(std::move(answer)) {}
    ~Hold() { answer_->dropped(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    Answer& answer() const { return *answer_; }

  private:
    std::shared_ptr<Answer> answer_;
};

server::Service::Sink Answer::sink(const std::shared_ptr<Answer>& answer) {
    return [hold = std::make_shared<Hold>(answer)](const Event& event) { hold->answer().take(event); };
}

void Answer::take(const Event& event) {
    switch (event.kind) {
        case Event::Kind::finished:
            reason_ = reason_of(event.finish_reason);
            stop_ = event.stop_text;
            tokens_ = event.tokens;
            break;
        case Event::Kind::done:
            usage_ = usage_of(event.usage);
            end({});
            break;
        case Event::Kind::failed: {
            cachalot_error failure{};
            report(&failure, *event.error);
            end(failure);
            break;
        }
        case Event::Kind::started: usage_ = usage_of(event.usage); [[fallthrough]];
        default: pass_on(event);
    }
}

void Answer::pass_on(const Event& event) {
    if (cancelled_) return;
    cachalot_event out = empty_event(kind_of(event.kind));
    out.text = event.text.c_str();
    out.text_size = event.text.size();
    out.call = event.call;
    out.call_id = event.id.c_str();
    out.done = event.progress_done;
    out.total = event.progress_total;
    out.usage = usage_;
    call(out);
}

void Answer::call(const cachalot_event& event) {
    if (!callback_) return;
    CallbackScope scope;
    try {
        if (callback_(&event, user_) != 0) cancelled_ = true;
    } catch (...) {  // of a C++ program; nobody here can know what it means
        cancelled_ = true;
    }
}

void Answer::accepted() {
    std::unique_lock lock(mutex_);
    accepted_ = true;
    if (!dropped_) return;
    lock.unlock();
    cancelled_ = true;
    end({});
}

void Answer::dropped() {
    std::unique_lock lock(mutex_);
    dropped_ = true;
    if (!accepted_) return;
    lock.unlock();
    cancelled_ = true;
    end({});
}

void Answer::end(const cachalot_error& how) {
    {
        std::lock_guard lock(mutex_);
        if (ending_) return;
        ending_ = true;
    }
    const bool cancelled = cancelled_ || (how.status == CACHALOT_CLOSING && *closing_);
    cachalot_event event = empty_event(CACHALOT_EVENT_END);
    const bool failed = !cancelled && how.status != CACHALOT_OK;
    event.reason = cancelled ? CACHALOT_END_CANCELLED : failed ? CACHALOT_END_ERROR : reason_;
    event.usage = usage_;
    if (failed) {
        event.status = how.status;
        event.message = how.message;
    } else {
        event.stop = stop_.c_str();
        event.tokens = tokens_.empty() ? nullptr : tokens_.data();
        event.token_count = tokens_.size();
    }
    call(event);
    std::lock_guard lock(mutex_);
    result_.reason = event.reason;
    result_.usage = usage_;
    report(&error_, event.status, event.message);
    ended_ = true;
    changed_.notify_all();
}

cachalot_result Answer::wait(std::int64_t timeout) {
    constexpr std::int64_t kLongest =
        std::int64_t(1000) * 3600 * 24 * 365;  // clocks overflow beyond some centuries
    std::unique_lock lock(mutex_);
    auto ended = [&] { return ended_; };
    if (timeout < 0)
        changed_.wait(lock, ended);
    else if (!changed_.wait_for(lock, std::chrono::milliseconds(std::min(timeout, kLongest)), ended))
        throw CapiError(CACHALOT_TIMEOUT, "the answer has not ended yet");
    if (error_.status != CACHALOT_OK) throw CapiError(error_.status, error_.message);
    return result_;
}

}  // namespace cachalot::capi
