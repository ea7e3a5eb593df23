#include "engine/chat.h"

#include <algorithm>

#include "base/error.h"
#include "engine/call_rules.h"
#include "text/prompt_protocol.h"

namespace cachalot {
namespace {

using Clock = std::chrono::steady_clock;

// States of earlier turns that are kept beside the longest that there can be.
constexpr std::int64_t kKeptStates = 8;

SchedulerOptions one_at_a_time(const Engine& engine) {
    SchedulerOptions options;
    options.parallel = 1;
    options.memory = Scheduler::least_memory(engine) + kKeptStates * engine.new_state().bytes_at(0);
    return options;
}

// Adds a pass to the half of the answer that it belongs to; the pass that gave the first token read the prompt.
class Stopwatch {
  public:
    explicit Stopwatch(Timings& timings) : timings_(timings) {}
    void lap(bool first_token_seen, std::int64_t rows) {
        auto now = Clock::now();
        std::chrono::duration<double> taken = now - last_;
        last_ = now;
        (first_token_seen ? timings_.decode_seconds : timings_.prefill_seconds) += taken.count();
        (first_token_seen ? timings_.decode_tokens : timings_.prefill_tokens) += rows;
    }

  private:
    Timings& timings_;
    Clock::time_point last_ = Clock::now();
};

}  // namespace

ChatSession::ChatSession(Engine& engine) : engine_(engine), scheduler_(engine, one_at_a_time(engine)) {}

ChatResult ChatSession::answer(const Conversation& conversation, const ChatOptions& chat,
                               GenerationOptions options, const ChatCallbacks& callbacks) {
    Prompt prompt = encode_prompt(conversation, chat);
    if (prompt.continuation == Continuation::nothing)
        fail("the conversation ends with a finished answer: add a user message");
    const Tokenizer& tokenizer = engine_.model().tokenizer;
    auto tokens = tokenizer.encode_parts(prompt.parts);
    auto header = tokenizer.encode_parts(std::span(prompt.parts).first(prompt.last_answer_header)).size();
    const auto total = static_cast<std::int64_t>(tokens.size());

    ChatResult result;
    result.prompt_tokens = tokens.size();
    options.special = GenerationOptions::Special::structure;
    const bool reasons = prompt.continuation == Continuation::reasoning;
    if (reasons) options.reasoning_end = tokenizer.find(kThinkEnd);
    auto tools = offered_tools(conversation);
    restrict_calls(options, *tools);
    SequenceOptions place;
    place.header = static_cast<std::int64_t>(header);
    auto sequence =
        std::make_shared<Sequence>(Generation(engine_, std::move(tokens), std::move(options)), place);
    const Generation& generation = sequence->generation();

    // Events of the parser go to the caller, who may want no more.
    CompletionParser parser(reasons, std::move(tools));
    auto pass_on = [&](const std::vector<CompletionEvent>& events) {
        return std::all_of(events.begin(), events.end(),
                           [&](const auto& e) { return !callbacks.on_event || callbacks.on_event(e); });
    };
    auto see = [&](const SequenceEvent& event) {
        using Kind = SequenceEvent::Kind;
        if (event.error) std::rethrow_exception(event.error);
        if (event.kind == Kind::read)
            return !callbacks.on_prefill ||
                   callbacks.on_prefill(event.done - sequence->cached(), total - sequence->cached());
        return event.text.empty() || pass_on(parser.feed(event.text));
    };
    scheduler_.submit(sequence);
    try {
        Stopwatch watch(result.timings);
        for (bool go_on = true; scheduler_.busy();) {
            if (!go_on || (callbacks.cancelled && callbacks.cancelled())) {
                pass_on(parser.feed(scheduler_.stop(sequence)));
                break;
            }
            const bool writing = generation.completion_tokens() > 0;
            auto events = scheduler_.step();
            watch.lap(writing, scheduler_.rows());
            for (const auto& event : events) go_on = see(event) && go_on;
        }
    } catch (...) {
        scheduler_.stop(sequence);
        throw;
    }
    result.kv_bytes = sequence->bytes();
    result.cached_tokens = static_cast<std::size_t>(sequence->cached());
    const bool limited = generation.reason() != FinishReason::eos;
    pass_on(parser.finish(limited));
    result.completion = parser.completion();
    result.completion_tokens = generation.completion_tokens();
    result.finish_reason = name(generation.reason());
    if (!result.completion.tool_calls.empty() && result.finish_reason == "stop")
        result.finish_reason = "tool_calls";
    return result;
}

}  // namespace cachalot
