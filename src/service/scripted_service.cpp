#include "service/scripted_service.h"

#include <algorithm>
#include <limits>
#include <thread>

#include "base/background.h"
#include "service/answer_events.h"
#include "service/prepared_prompt.h"
#include "service/script.h"
#include "text/prompt_protocol.h"
#include "text/utf8.h"

namespace cachalot::server {
namespace {

// A tokenizer that needs no file: up to three bytes are a token, and a token's id tells its bytes.
namespace toy {

constexpr std::int32_t kOne = 0, kTwo = 256, kThree = kTwo + (1 << 16), kEnd = kThree + (1 << 24);

std::vector<std::int32_t> encode(std::string_view text) {
    std::vector<std::int32_t> tokens;
    for (std::size_t at = 0; at < text.size(); at += 3) {
        auto piece = text.substr(at, 3);
        std::int32_t value = 0;
        for (char c : piece) value = value << 8 | static_cast<unsigned char>(c);
        tokens.push_back(value + (piece.size() == 1 ? kOne : piece.size() == 2 ? kTwo : kThree));
    }
    return tokens;
}

std::string decode(std::span<const std::int32_t> tokens) {
    std::string text;
    for (auto token : tokens) {
        if (token < 0 || token >= kEnd)
            throw ApiError(400, "invalid_request", fmt::format("tokens: {} is not in the vocabulary", token),
                           "tokens");
        int length = token < kTwo ? 1 : token < kThree ? 2 : 3;
        std::int32_t value = token - (length == 1 ? kOne : length == 2 ? kTwo : kThree);
        for (int i = length - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
    }
    return text;
}

std::int64_t count(std::string_view text) { return static_cast<std::int64_t>((text.size() + 2) / 3); }

// As much of the text as so many tokens hold; -1: all.
std::string_view beginning(std::string_view text, std::int64_t tokens) {
    if (tokens < 0 || count(text) <= tokens) return text;
    auto end = static_cast<std::size_t>(tokens) * 3;
    while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // no half characters
    return text.substr(0, end);
}

}  // namespace toy

std::string raw_text(const Request& request) {
    if (!request.tokens.empty()) return toy::decode(request.tokens);
    std::string text;
    for (const auto& part : request.text) text += part.text;
    return text;
}

// The answer as the model would write it after the prompt: what the encoder adds for an assistant message
// that holds it.
std::string answer_text(const Request& request, const ScriptedAnswer& answer, const std::string& prompt) {
    if (answer.raw) return *answer.raw;
    if (request.raw) return answer.content;
    Request answered = request;
    auto& messages = answered.conversation.messages;
    if (messages.back().role == Role::assistant)
        return answer.content;  // a beginning that is to be continued
    Message message = text_message(Role::assistant, answer.content);
    message.reasoning = toy::beginning(answer.reasoning, request.generation.max_reasoning);
    message.tool_calls = answer.tool_calls;
    if (request.tool_choice == ToolChoice::none) message.tool_calls.clear();
    message.without_eos = true;
    messages.push_back(std::move(message));
    auto all = encode_conversation(answered).text();
    CACHALOT_CHECK(all.starts_with(prompt));
    return all.substr(prompt.size());
}

std::size_t chunk_length(std::string_view text, ScriptedAnswer::Chunk chunk) {
    if (chunk == ScriptedAnswer::Chunk::all) return text.size();
    if (chunk == ScriptedAnswer::Chunk::character) return decode_utf8(text).length;
    auto space = text.find_first_of(" \n", 1);  // a word begins with the space before it
    return space == std::string_view::npos ? text.size() : space;
}

class ScriptedJob : public QueuedJob {
  public:
    ScriptedJob(const ScriptedAnswer& answer, Request request, std::string prompt,
                std::optional<bool> in_reasoning, Service::Sink sink, const Log& log)
        : QueuedJob(std::move(sink), request, log),
          answer_(answer),
          request_(std::move(request)),
          prompt_(std::move(prompt)),
          in_reasoning_(in_reasoning) {}

    // Runs the request; what it throws is for the client.
    void serve() {
        if (answer_.error) throw ApiError(500, "internal_error", *answer_.error);
        usage_.prompt_tokens = toy::count(prompt_);
        Event event{Event::Kind::started};
        event.usage = usage_;
        send(event);
        event.kind = Event::Kind::progress;
        event.progress_done = event.progress_total = usage_.prompt_tokens;
        send(event);
        if (request_.echo) echo();
        for (int choice = 0; choice < request_.n; ++choice) {
            run(choice);
            if (stopped()) return;
        }
        Event done{Event::Kind::done};
        done.usage = usage_;
        send(done);
    }

  private:
    bool scored() const { return request_.generation.top_logprobs >= 0; }

    static Logprobs certain(std::int32_t token) { return {{token, 0.0}, {{token, 0.0}}}; }

    void echo() {
        Event event{Event::Kind::prompt_logprobs};
        event.text = prompt_;
        if (scored())
            for (auto token : toy::encode(prompt_)) event.logprobs.push_back(certain(token));
        if (!event.logprobs.empty())
            event.logprobs.front() = {
                {event.logprobs.front().chosen.token, std::numeric_limits<double>::quiet_NaN()}, {}};
        for (event.choice = 0; event.choice < request_.n; ++event.choice) send(event);
    }

    void run(int choice) {
        auto text = answer_text(request_, answer_, prompt_);
        auto thought = in_reasoning_.value_or(false) ? std::min(text.find(kThinkEnd), text.size()) : 0;
        usage_.reasoning_tokens += toy::count(std::string_view(text).substr(0, thought));
        AnswerEvents events(*this, request_, choice, in_reasoning_);
        auto reason = answer_.finish_reason == "length" ? FinishReason::length : FinishReason::eos;
        auto limit = request_.generation.max_tokens;
        std::int64_t tokens = 0;
        for (std::string_view rest = text; !rest.empty();) {
            auto length = chunk_length(rest, answer_.chunk);
            auto cost = toy::count(rest.substr(0, length));
            if (limit >= 0 && tokens + cost > limit) {
                reason = FinishReason::length;
                break;
            }
            if (!wait()) return;
            tokens += cost;
            if (scored()) {
                std::size_t offset = text.size() - rest.size();
                for (auto token : toy::encode(rest.substr(0, length))) {
                    events.add_logprobs(certain(token), offset);
                    offset += 3;
                }
            }
            if (!events.feed(std::string(rest.substr(0, length)))) break;
            rest.remove_prefix(length);
        }
        usage_.completion_tokens += tokens;
        events.end_text(reason == FinishReason::length);
        events.finish(reason);
    }

    // The delay of one token; false if nobody waits any more.
    bool wait() {
        auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(answer_.delay_ms_per_token);
        while (!stopped()) {
            auto now = std::chrono::steady_clock::now();
            if (now >= end) return true;
            std::this_thread::sleep_for(
                std::min<std::chrono::steady_clock::duration>(end - now, std::chrono::milliseconds(10)));
        }
        return false;
    }

    const ScriptedAnswer& answer_;
    const Request request_;
    const std::string prompt_;
    const std::optional<bool> in_reasoning_;
    Usage usage_;
};

class ScriptedService : public Service {
  public:
    ScriptedService(Script script, const ScriptedServiceOptions& options)
        : script_(std::move(script)),
          log_(options.log),
          queue_(options.queue),
          worker_(start_thread("the script", [this] { work(); })) {
        info_.id = script_.model;
        info_.created = 1'767'225'600;  // fixed: everything about a script is
        info_.context = script_.context;
        info_.vocab_size = toy::kEnd;
        info_.chat.format = script_.format;
    }

    ~ScriptedService() override {
        queue_.quit();
        worker_.join();
    }

    const ModelInfo& info() const override { return info_; }
    bool ready() const override { return !queue_.draining(); }

    std::shared_ptr<Job> submit(Request request, Sink sink) override {
        queue_.check_room();
        validate(request.generation.sampling, info_.vocab_size);
        StopMatcher{request.generation.stops};  // throws what serving would
        std::optional<bool> in_reasoning;
        auto prompt = prompt_of(request, &in_reasoning);
        auto tokens = toy::count(prompt);
        if (request.sized) request.sized(tokens);
        if (tokens > info_.context)
            throw context_exceeded(tokens, request.generation.max_tokens, info_.context);
        if (!request.raw) check_tool_choice(request);
        check_form(request);
        const auto& answer = script_.answer(request);
        auto job = std::make_shared<ScriptedJob>(answer, std::move(request), std::move(prompt), in_reasoning,
                                                 std::move(sink), log_);
        queue_.push(job);
        return job;
    }

    std::int64_t count_tokens(const Request& request) const override { return toy::count(render(request)); }

    std::string render(const Request& request) const override {
        Request copy = request;
        return prompt_of(copy, nullptr);
    }

    std::vector<std::int32_t> tokenize(std::string_view text, bool /*parse_special*/) const override {
        return toy::encode(text);
    }
    std::string detokenize(std::span<const std::int32_t> tokens) const override {
        return toy::decode(tokens);
    }

    void drain(std::chrono::steady_clock::time_point deadline) override { queue_.drain(deadline); }

  private:
    // One request after another.
    void work() {
        while (auto job = queue_.take(true)) {
            queue_.begun(*job);
            try {
                if (!job->stopped()) static_cast<ScriptedJob&>(*job).serve();
            } catch (...) {
                job->fail(std::current_exception());
            }
            queue_.over(job);
        }
    }

    static std::string prompt_of(Request& request, std::optional<bool>* in_reasoning) {
        if (request.raw) return raw_text(request);
        complete_conversation(request);
        auto prompt = encode_conversation(request);
        if (in_reasoning) *in_reasoning = prompt.continuation == Continuation::reasoning;
        return prompt.text();
    }

    const Script script_;
    const Log log_;
    ModelInfo info_;
    mutable JobQueue queue_;
    std::thread worker_;  // last: it uses the rest
};

}  // namespace

std::unique_ptr<Service> make_scripted_service(Script script, ScriptedServiceOptions options) {
    return std::make_unique<ScriptedService>(std::move(script), options);
}

}  // namespace cachalot::server
