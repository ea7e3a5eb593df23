#include "server/engine_service.h"

#include <algorithm>
#include <limits>

#include "server/answer_events.h"
#include "server/prepared_prompt.h"
#include "server/state_pool.h"
#include "text/prompt_protocol.h"

namespace cachalot::server {
namespace {

// Rows of logits that are computed at once for the log-probabilities of a prompt.
constexpr std::size_t kEchoChunk = 64;

// What the worker needs besides the job; outlives every job.
struct Workshop {
    Engine& engine;
    StatePool states;
    ToolMemory memory;
};

class EngineJob : public QueuedJob {
  public:
    EngineJob(Workshop& shop, Request request, PreparedPrompt prompt, Service::Sink sink)
        : QueuedJob(std::move(sink), request.priority, request.abandoned),
          shop_(shop),
          request_(std::move(request)),
          prompt_(std::move(prompt)) {
        usage_.prompt_tokens = static_cast<std::int64_t>(prompt_.tokens.size());
    }

    void serve() override {
        auto& state = shop_.states.take(request_.tenant, prompt_.tokens);
        bool scored = request_.echo && request_.generation.top_logprobs >= 0;
        if (!scored) usage_.cached_tokens = static_cast<std::int64_t>(state.reuse(prompt_.tokens));
        Event started{Event::Kind::started};
        started.usage = usage_;
        send(started);
        if (request_.echo && !echo(state, scored)) return;
        for (int choice = 0; choice < request_.n; ++choice)
            if (!answer(state, choice)) return;
        Event done{Event::Kind::done};
        done.usage = usage_;
        send(done);
    }

  private:
    // Each of these returns false if the job was stopped.
    bool echo(ReusableState& state, bool scored);
    bool answer(ReusableState& state, int choice);
    bool score_prompt(ReusableState& state, std::vector<Logprobs>& scores);

    bool progress(std::int64_t done) {
        Event event{Event::Kind::progress};
        event.progress_done = done;
        event.progress_total = usage_.prompt_tokens;
        send(event);
        return !stopped();
    }

    void remember(const Generation& generation, const AnswerEvents& events);
    std::int64_t reasoning_tokens(const Generation& generation) const;

    Workshop& shop_;
    const Request request_;
    const PreparedPrompt prompt_;
    Usage usage_;
};

bool EngineJob::echo(ReusableState& state, bool scored) {
    Event event{Event::Kind::prompt_logprobs};
    if (scored && !score_prompt(state, event.logprobs)) return false;
    auto shown = std::span(prompt_.tokens).subspan(prompt_.hidden);
    event.text = shop_.engine.model().tokenizer.decode(shown);
    for (event.choice = 0; event.choice < request_.n; ++event.choice) send(event);
    return true;
}

// Evaluates the prompt with the logits of every position; the last token is left to the answer.
bool EngineJob::score_prompt(ReusableState& state, std::vector<Logprobs>& scores) {
    auto& engine = shop_.engine;
    const auto& tokens = prompt_.tokens;
    auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    auto fresh = engine.new_state();
    scores.push_back({{tokens[0], 0.0}, {}});
    for (std::size_t done = 0; done + 1 < tokens.size();) {
        auto count = std::min(kEchoChunk, tokens.size() - 1 - done);
        Segment segment{&fresh, std::span(tokens).subspan(done, count), true};
        auto logits = engine.step({&segment, 1});
        for (std::size_t i = 0; i < count; ++i)
            scores.push_back(logprobs_of(logits.subspan(i * vocab, vocab), tokens[done + i + 1],
                                         request_.generation.top_logprobs));
        done += count;
        if (!progress(static_cast<std::int64_t>(done))) return false;
    }
    scores.erase(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(prompt_.hidden));
    state.adopt(std::move(fresh), {tokens.begin(), tokens.end() - 1});
    return true;
}

bool EngineJob::answer(ReusableState& state, int choice) {
    auto options = request_.generation;
    options.sampling.seed += static_cast<std::uint64_t>(choice);
    options.stops.clear();  // AnswerEvents looks for them where the user would see them
    options.special = request_.raw ? GenerationOptions::Special::none : GenerationOptions::Special::structure;
    Generation generation(shop_.engine, prompt_.tokens, std::move(options));
    auto reused = static_cast<std::int64_t>(state.reuse(prompt_.tokens));
    AnswerEvents events(*this, request_, choice, prompt_.in_reasoning);

    GenerationCallbacks callbacks;
    callbacks.on_prefill = [&](std::int64_t done, std::int64_t) { return progress(reused + done); };
    callbacks.on_text = [&](const std::string& text) { return events.feed(text); };
    callbacks.cancelled = [&] { return stopped(); };
    if (request_.generation.top_logprobs >= 0)
        callbacks.on_token = [&] {
            if (generation.reason() != FinishReason::eos)
                events.add_logprobs(*generation.logprobs(), generation.text_offset());
        };
    state.run(generation, prompt_.header, callbacks);
    if (stopped()) return false;
    usage_.completion_tokens += static_cast<std::int64_t>(generation.completion_tokens());
    usage_.reasoning_tokens += reasoning_tokens(generation);
    events.end_text();
    remember(generation,
             events);  // before the client can know that the answer is complete, and come back with it
    events.finish(generation.reason());
    return true;
}

void EngineJob::remember(const Generation& generation, const AnswerEvents& events) {
    const auto& completion = events.completion();
    if (events.call_ids().empty()) return;
    RememberedTurn turn;
    turn.reasoning = completion.reasoning;
    turn.content = completion.content;
    for (std::size_t i = 0; i < events.call_ids().size(); ++i)
        turn.calls.push_back(
            {events.call_ids()[i], completion.tool_calls[i].name, completion.tool_calls[i].arguments});
    turn.reasoned = *prompt_.in_reasoning;
    // A turn that was cut short is better written anew, properly closed.
    if (generation.reason() == FinishReason::eos && !events.cut())
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

class EngineService : public Service {
  public:
    EngineService(Engine& engine, EngineServiceOptions options)
        : shop_{engine, StatePool(engine, options.states), ToolMemory(options.memory)},
          queue_(options.queue) {
        const auto& config = engine.model().config;
        info_.id = !options.model_id.empty() ? options.model_id
                   : !config.name.empty()    ? config.name
                                             : "deepseek-v4";
        info_.created = std::chrono::duration_cast<std::chrono::seconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
        info_.context = engine.context();
        info_.vocab_size = config.vocab_size;
        info_.sampling = options.sampling;
        info_.chat = options.chat;
    }

    const ModelInfo& info() const override { return info_; }
    bool ready() const override { return !queue_.draining(); }

    std::shared_ptr<Job> submit(Request request, Sink sink) override {
        queue_.check_room();  // before the work of preparing
        auto prompt = prepare_prompt(request, tokenizer(), shop_.memory);
        check(request, prompt);
        apply_tool_choice(request, prompt, tokenizer());
        auto job = std::make_shared<EngineJob>(shop_, std::move(request), std::move(prompt), std::move(sink));
        queue_.push(job);
        return job;
    }

    std::int64_t count_tokens(const Request& request) const override {
        Request copy = request;
        return static_cast<std::int64_t>(prepare_prompt(copy, tokenizer(), shop_.memory).tokens.size());
    }

    std::string render(const Request& request) const override {
        Request copy = request;
        if (copy.raw) return tokenizer().decode(prepare_prompt(copy, tokenizer(), shop_.memory).tokens);
        complete_conversation(copy);
        shop_.memory.reattach(copy.tenant, copy.conversation);
        return encode_conversation(copy).text();
    }

    std::vector<std::int32_t> tokenize(std::string_view text, bool parse_special) const override {
        return tokenizer().encode(text, parse_special ? SpecialTokens::parse : SpecialTokens::literal);
    }

    std::string detokenize(std::span<const std::int32_t> tokens) const override {
        try {
            return tokenizer().decode(tokens);
        } catch (const Error& e) {
            throw ApiError(400, "invalid_request", fmt::format("tokens: {}", e.what()), "tokens");
        }
    }

    void drain(std::chrono::steady_clock::time_point deadline) override { queue_.drain(deadline); }

  private:
    const Tokenizer& tokenizer() const { return shop_.engine.model().tokenizer; }

    // Whatever a generation would refuse is refused now.
    void check(const Request& request, const PreparedPrompt& prompt) const {
        auto tokens = static_cast<std::int64_t>(prompt.tokens.size());
        if (tokens > info_.context)
            throw context_exceeded(tokens, request.generation.max_tokens, info_.context);
        try {
            Generation(shop_.engine, prompt.tokens, request.generation);
        } catch (const ApiError&) {
            throw;
        } catch (const Error& e) {
            throw ApiError(400, "invalid_request", e.what());
        }
    }

    ModelInfo info_;
    mutable Workshop shop_;
    mutable JobQueue queue_;  // last: its threads use the rest
};

}  // namespace

std::unique_ptr<Service> make_engine_service(Engine& engine, EngineServiceOptions options) {
    return std::make_unique<EngineService>(engine, std::move(options));
}

}  // namespace cachalot::server
