// Legacy completions: a text is continued. Evaluation harnesses live on `echo` with `logprobs`, and send many prompts
// at once: each becomes a request of its own, choices are numbered prompt by prompt.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "server/api/openai_write.h"
#include "text/utf8.h"

namespace cachalot::server::openai {
namespace {

using Clock = std::chrono::steady_clock;

std::int64_t characters(std::string_view text) {
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

// The four parallel lists; `offset` is where the next token's text begins, in characters.
struct LogprobLists {
    ordered_json tokens = ordered_json::array(), token_logprobs = ordered_json::array(),
                 top_logprobs = ordered_json::array(), text_offset = ordered_json::array();
    std::int64_t offset = 0;

    void append(const Service& service, const Logprobs& one) {
        bool scored = !std::isnan(one.chosen.logprob);
        auto text = service.detokenize({&one.chosen.token, 1});
        tokens.push_back(repair_utf8(text));
        text_offset.push_back(offset);
        offset += characters(text);
        token_logprobs.push_back(scored ? ordered_json(finite(one.chosen.logprob)) : ordered_json());
        ordered_json top = scored ? ordered_json::object() : ordered_json();
        for (const auto& other : one.top) {
            auto name = repair_utf8(service.detokenize({&other.token, 1}));
            if (!top.contains(name)) top[name] = finite(other.logprob);  // the best of those that look alike
        }
        top_logprobs.push_back(std::move(top));
    }

    ordered_json json() const {
        return {{"tokens", tokens},
                {"token_logprobs", token_logprobs},
                {"top_logprobs", top_logprobs},
                {"text_offset", text_offset}};
    }
};

// Collects the events of several requests. Streamed, each event with text is a chunk; else all are one answer.
class CompletionAnswer {
  public:
    CompletionAnswer(const Service& service, const CompletionRequest& completion,
                     std::shared_ptr<ResponseWriter> writer)
        : service_(service),
          writer_(std::move(writer)),
          id_(random_id("cmpl-")),
          model_(completion.model),
          created_(unix_time()),
          n_(completion.requests.front().n),
          stream_(completion.stream),
          include_usage_(completion.include_usage),
          scored_(completion.requests.front().generation.top_logprobs >= 0),
          running_(completion.requests.size()),
          choices_(completion.requests.size() * static_cast<std::size_t>(n_)) {}

    // From now on events are answered; what has come before waits until all requests are accepted, as the answer may
    // still be a refusal.
    void begin(std::vector<std::shared_ptr<Job>> jobs) {
        std::lock_guard lock(mutex_);
        jobs_ = std::move(jobs);
        begun_ = true;
        if (stream_) writer_->start_stream();
        for (const auto& [prompt, event] : std::exchange(early_, {})) handle(prompt, event);
    }

    void on(std::size_t prompt, const Event& event) {
        std::lock_guard lock(mutex_);
        if (begun_)
            handle(prompt, event);
        else
            early_.emplace_back(prompt, event);
    }

  private:
    void handle(std::size_t prompt, const Event& event) {
        if (ended_) return;
        auto index = prompt * static_cast<std::size_t>(n_) + static_cast<std::size_t>(event.choice);
        using Kind = Event::Kind;
        if (event.kind != Kind::done) write_last();
        switch (event.kind) {
            case Kind::prompt_logprobs:
            case Kind::content: add_text(index, event); break;
            case Kind::progress:
                if (stream_ && Clock::now() - last_write_ >= kKeepAlive)
                    write(chunk(index, "", ordered_json(), nullptr));
                break;
            case Kind::finished:
                choices_[index].finish_reason = event.finish_reason;
                if (stream_) last_ = chunk(index, "", ordered_json(), event.finish_reason);
                break;
            case Kind::done: done(event); break;
            case Kind::failed: failed(*event.error); break;
            default: break;
        }
    }

    struct Choice {
        std::string text, finish_reason;
        LogprobLists logprobs;
    };

    ordered_json envelope() const {
        return {{"id", id_}, {"object", "text_completion"}, {"created", created_}, {"model", model_}};
    }

    static ordered_json choice_json(std::size_t index, const std::string& text, ordered_json logprobs,
                                    ordered_json finish_reason) {
        return {{"text", text},
                {"index", index},
                {"logprobs", std::move(logprobs)},
                {"finish_reason", std::move(finish_reason)}};
    }

    ordered_json chunk(std::size_t index, const std::string& text, ordered_json logprobs,
                       ordered_json finish_reason) const {
        auto json = envelope();
        json["choices"] =
            ordered_json::array({choice_json(index, text, std::move(logprobs), std::move(finish_reason))});
        if (include_usage_) json["usage"] = nullptr;
        return json;
    }

    void write(const ordered_json& json) {
        writer_->write(sse_data(json));
        last_write_ = Clock::now();
    }

    void write_last() {
        if (last_) write(*std::exchange(last_, {}));
    }

    void add_text(std::size_t index, const Event& event) {
        auto& choice = choices_[index];
        if (!stream_) choice.text += event.text;
        LogprobLists piece;
        auto& lists = stream_ ? piece : choice.logprobs;
        lists.offset = choice.logprobs.offset;
        for (const auto& one : event.logprobs) lists.append(service_, one);
        choice.logprobs.offset = lists.offset;
        if (stream_) write(chunk(index, event.text, scored_ ? piece.json() : ordered_json(), nullptr));
    }

    // Prompts are answered side by side: their tokens are added up, of their times the longest count.
    void add(const Event& done) {
        usage_.prompt_tokens += done.usage.prompt_tokens;
        usage_.cached_tokens += done.usage.cached_tokens;
        usage_.completion_tokens += done.usage.completion_tokens;
        if (!done.timings) return;
        auto& all = timings_ ? *timings_ : timings_.emplace();
        all.prompt_seconds = std::max(all.prompt_seconds, done.timings->prompt_seconds);
        all.answer_seconds = std::max(all.answer_seconds, done.timings->answer_seconds);
        all.drafted += done.timings->drafted;
        all.accepted += done.timings->accepted;
    }

    void done(const Event& event) {
        add(event);
        if (--running_ > 0) return;
        ended_ = true;
        auto json = envelope();
        json["choices"] = ordered_json::array();
        json["usage"] = usage_json(usage_);
        if (stream_) {
            if (include_usage_) {
                write_last();
                last_ = json;
            }
            if (last_) add_timings(*last_, usage_, timings_);
            write_last();
            writer_->write("data: [DONE]\n\n");
            writer_->finish();
            return;
        }
        for (std::size_t i = 0; i < choices_.size(); ++i)
            json["choices"].push_back(choice_json(i, choices_[i].text,
                                                  scored_ ? choices_[i].logprobs.json() : ordered_json(),
                                                  choices_[i].finish_reason));
        add_timings(json, usage_, timings_);
        respond_json(*writer_, json);
    }

    // The others stop when one fails.
    void failed(const ApiError& error) {
        ended_ = true;
        for (auto& job : jobs_) job->cancel();
        auto body = openai_error_json(error);
        if (!stream_) return respond_error(*writer_, error, body);
        writer_->write(sse_data(body));
        writer_->finish();
    }

    const Service& service_;
    const std::shared_ptr<ResponseWriter> writer_;
    const std::string id_, model_;
    const std::int64_t created_;
    const int n_;
    const bool stream_, include_usage_, scored_;
    std::mutex mutex_;  // of what follows; never held for long, as the model waits for it
    std::size_t running_;
    bool begun_ = false, ended_ = false;
    std::vector<std::pair<std::size_t, Event>>
        early_;  // events before begin(), with the numbers of their prompts
    std::vector<std::shared_ptr<Job>> jobs_;
    Clock::time_point last_write_ = Clock::now();
    std::optional<ordered_json> last_;  // a chunk that may be the last, which has the timings
    Usage usage_;
    std::optional<RequestTimings> timings_;
    std::vector<Choice> choices_;
};

}  // namespace

void answer_completion(Service& service, CompletionRequest completion,
                       std::shared_ptr<ResponseWriter> writer) {
    auto answer = std::make_shared<CompletionAnswer>(service, completion, writer);
    std::vector<std::shared_ptr<Job>> jobs;
    jobs.reserve(completion.requests.size());
    try {
        for (std::size_t i = 0; i < completion.requests.size(); ++i) {
            auto sink = [answer, i](const Event& event) { answer->on(i, event); };
            jobs.push_back(submit(service, std::move(completion.requests[i]), writer, sink));
        }
        answer->begin(jobs);
    } catch (...) {
        for (auto& job : jobs) job->cancel();
        throw;
    }
}

}  // namespace cachalot::server::openai
