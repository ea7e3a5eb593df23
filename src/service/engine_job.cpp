#include "service/engine_job.h"

#include <algorithm>
#include <limits>

#include "service/client_error.h"
#include "text/prompt_protocol.h"

namespace cachalot::server {

struct EngineJob::Choice : Sequence {
    Choice(EngineJob& owner, int choice, Generation generation, SequenceOptions options)
        : Sequence(std::move(generation), std::move(options)),
          job(owner),
          number(choice),
          events(owner, owner.request_, choice, owner.prompt_.in_reasoning) {}
    EngineJob& job;
    const int number;
    AnswerEvents events;
    bool over = false;
};

void check_model(const Engine& engine) {
    const auto problem = engine.problem();
    if (problem.empty()) return;
    ApiError error(500, "model_changed", kModelChanged);
    error.cause = std::make_exception_ptr(Error(problem));
    throw error;
}

EngineJob::EngineJob(Workshop& shop, Request request, PreparedPrompt prompt, Service::Sink sink)
    : WorkerJob(std::move(sink), request, shop.engine.options().log),
      shop_(shop),
      request_(std::move(request)),
      prompt_(std::move(prompt)),
      scored_(request_.echo && request_.generation.top_logprobs >= 0) {
    usage_.prompt_tokens = static_cast<std::int64_t>(prompt_.tokens.size());
}

EngineJob& EngineJob::of(const SequenceEvent& event) { return static_cast<Choice&>(*event.sequence).job; }

void EngineJob::begin() {
    do submit_choice();
    while (!scored_ && static_cast<int>(choices_.size()) < request_.n);
}

void EngineJob::submit_choice() {
    const int number = static_cast<int>(choices_.size());
    auto options = request_.generation;
    options.sampling.seed += static_cast<std::uint64_t>(number);
    options.stops.clear();  // AnswerEvents looks for them where the user would see them
    options.special = request_.raw ? GenerationOptions::Special::none : GenerationOptions::Special::structure;
    SequenceOptions place;
    place.priority = request_.priority;
    place.space = request_.tenant;
    place.header = static_cast<std::int64_t>(prompt_.header);
    place.all_logits = scored_ && number == 0;
    place.longest_draft = request_.longest_draft;
    choices_.push_back(std::make_shared<Choice>(
        *this, number, Generation(shop_.engine, prompt_.tokens, std::move(options)), std::move(place)));
    shop_.scheduler.submit(choices_.back());
}

void EngineJob::see(const SequenceEvent& event) {
    if (over_) return;
    auto& choice = static_cast<Choice&>(*event.sequence);
    switch (event.kind) {
        case SequenceEvent::Kind::started: send_started(choice); break;
        case SequenceEvent::Kind::read: read(choice, event); break;
        case SequenceEvent::Kind::wrote: wrote(choice, event); break;
        case SequenceEvent::Kind::failed:
            try {
                check_model(shop_.engine);  // a better reason, if there is one
                fail(event.error);
            } catch (const ApiError& e) {
                fail(e);
            }
            stop();
            break;
    }
}

void EngineJob::send_started(const Sequence& sequence) {
    if (std::exchange(started_, true)) return;
    usage_.cached_tokens = sequence.cached();
    Event event{Event::Kind::started};
    event.usage = usage_;
    send(event);
    if (request_.echo && !scored_) send_echo();
}

void EngineJob::send_echo() {
    Event event{Event::Kind::prompt_logprobs};
    event.logprobs = std::move(scores_);
    event.text = shop_.engine.model().tokenizer.decode(std::span(prompt_.tokens).subspan(prompt_.hidden));
    for (event.choice = 0; event.choice < request_.n; ++event.choice) send(event);
}

// The others wait for the first, or have little left to read.
void EngineJob::read(const Choice& choice, const SequenceEvent& event) {
    if (choice.number != 0) return;
    if (scored_) score(event);
    Event progress{Event::Kind::progress};
    progress.progress_done = event.done;
    progress.progress_total = usage_.prompt_tokens;
    send(progress);
    if (!scored_ || event.done < usage_.prompt_tokens) return;
    send_echo();
    while (static_cast<int>(choices_.size()) < request_.n) submit_choice();
}

void EngineJob::score(const SequenceEvent& event) {
    const auto& tokens = prompt_.tokens;
    const auto vocab = static_cast<std::size_t>(shop_.engine.model().config.vocab_size);
    const auto done = static_cast<std::size_t>(event.done);
    if (done <= scores_.size()) return;  // preempted, it reads again what is scored already
    if (scores_.empty()) scores_.push_back({{tokens[0], std::numeric_limits<double>::quiet_NaN()}, {}});
    const auto first = done - event.logits.size() / vocab;
    for (auto i = scores_.size() - 1; i < std::min(done, tokens.size() - 1); ++i)
        scores_.push_back(logprobs_of(event.logits.subspan((i - first) * vocab, vocab), tokens[i + 1],
                                      request_.generation.top_logprobs));
    if (done == tokens.size())
        scores_.erase(scores_.begin(), scores_.begin() + static_cast<std::ptrdiff_t>(prompt_.hidden));
}

void EngineJob::wrote(Choice& choice, const SequenceEvent& event) {
    if (choice.over) return;  // at an earlier token of the same pass
    const bool is_end = event.last && choice.generation().reason() == FinishReason::eos;
    if (event.logprobs && !is_end) choice.events.add_logprobs(*event.logprobs, event.text_offset);
    const bool go_on = event.text.empty() || choice.events.feed(event.text);
    if (go_on && !event.last) return;
    choice.over = true;
    shop_.scheduler.stop(event.sequence, event.length);
    finish(choice);
}

void EngineJob::finish(Choice& choice) {
    usage_.completion_tokens += static_cast<std::int64_t>(choice.generation().completion_tokens());
    usage_.reasoning_tokens += reasoning_tokens(choice.generation());
    const auto reason = choice.generation().reason();
    choice.events.end_text(reason == FinishReason::length || reason == FinishReason::cancelled);
    remember(choice);  // before the client can know that the answer is complete, and come back with it
    choice.events.finish(reason, choice.generation().tokens());
    if (++finished_ < request_.n) return;
    over_ = true;
    Event done{Event::Kind::done};
    done.usage = usage_;
    done.timings = timings();
    send(done);
}

// Choices are written side by side.
RequestTimings EngineJob::timings() const {
    RequestTimings all;
    auto times = choices_.front()->times();
    for (const auto& choice : choices_) {
        times.started = std::min(times.started, choice->times().started);
        times.first_token = std::min(times.first_token, choice->times().first_token);
        times.last_token = std::max(times.last_token, choice->times().last_token);
        all.drafts.add(choice->drafts());
    }
    all.drafts.gain = shop_.scheduler.drafts().gain;
    using Seconds = std::chrono::duration<double>;
    all.prompt_seconds = Seconds(times.first_token - times.started).count();
    all.answer_seconds = Seconds(times.last_token - times.first_token).count();
    return all;
}

void EngineJob::stop() {
    over_ = true;
    for (const auto& choice : choices_) shop_.scheduler.stop(choice);
}

void EngineJob::remember(const Choice& choice) {
    const auto& events = choice.events;
    const auto& generation = choice.generation();
    const auto& completion = events.completion();
    if (events.call_ids().empty()) return;
    RememberedTurn turn;
    turn.reasoning = completion.reasoning;
    turn.content = completion.content;
    for (std::size_t i = 0; i < events.call_ids().size(); ++i)
        turn.calls.push_back(
            {events.call_ids()[i], completion.tool_calls[i].name, completion.tool_calls[i].arguments});
    turn.reasoned = *prompt_.in_reasoning;
    // A turn that was cut short or is misshapen is better written anew: the model copies what it finds in its
    // prompt.
    if (generation.reason() == FinishReason::eos && !events.cut() && completion.well_formed())
        turn.tokens.assign(
            generation.tokens().begin() + static_cast<std::ptrdiff_t>(generation.prompt_tokens()),
            generation.tokens().end());
    shop_.memory.remember(request_.tenant, std::move(turn));
}

std::int64_t EngineJob::reasoning_tokens(const Generation& generation) const {
    if (!prompt_.in_reasoning.value_or(false)) return 0;
    auto begin = generation.tokens().begin() + static_cast<std::ptrdiff_t>(generation.prompt_tokens());
    auto think_end = shop_.engine.model().tokenizer.find(kThinkEnd);
    return std::find(begin, generation.tokens().end(), think_end.value_or(-1)) - begin;
}

}  // namespace cachalot::server
