// Chat completions. A stream starts at once, before the request's turn has come: clients give up on connections that
// stay silent. While the prompt is read they get chunks with an empty delta, since not all of them count comments as
// life.
#include <chrono>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "server/api/custom_input.h"
#include "server/api/openai_write.h"
#include "text/utf8.h"

namespace cachalot::server::openai {

ordered_json usage_json(const Usage& usage) {
    return {{"prompt_tokens", usage.prompt_tokens},
            {"completion_tokens", usage.completion_tokens},
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
            {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
            {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

void add_timings(ordered_json& answer, const Usage& usage, const std::optional<RequestTimings>& timings) {
    if (!timings) return;
    auto& json = answer["timings"];
    auto add = [&](const std::string& name, std::int64_t tokens, double seconds) {
        auto rounded = [](double value) { return std::round(value * 1000) / 1000; };
        const auto n = static_cast<double>(tokens);
        json[name + "_n"] = tokens;
        json[name + "_ms"] = rounded(seconds * 1000);
        json[name + "_per_token_ms"] = rounded(tokens > 0 ? seconds * 1000 / n : 0);
        json[name + "_per_second"] = rounded(seconds > 0 ? n / seconds : 0);
    };
    json["cache_n"] = usage.cached_tokens;
    add("prompt", usage.prompt_tokens - usage.cached_tokens, timings->prompt_seconds);
    add("predicted", usage.completion_tokens, timings->answer_seconds);
    json["draft_n"] = timings->drafted;
    json["draft_n_accepted"] = timings->accepted;
}

double finite(double logprob) { return std::max(logprob, -9999.0); }

namespace {

using Clock = std::chrono::steady_clock;
ordered_json token_json(const Service& service, const TokenLogprob& token) {
    auto bytes = service.detokenize({&token.token, 1});
    auto list = ordered_json::array();
    for (char c : bytes) list.push_back(static_cast<unsigned char>(c));
    return {{"token", repair_utf8(bytes)}, {"logprob", finite(token.logprob)}, {"bytes", list}};
}

void append_logprobs(const Service& service, const std::vector<Logprobs>& logprobs, ordered_json& list) {
    for (const auto& one : logprobs) {
        auto json = token_json(service, one.chosen);
        json["top_logprobs"] = ordered_json::array();
        for (const auto& other : one.top) json["top_logprobs"].push_back(token_json(service, other));
        list.push_back(std::move(json));
    }
}

class ChatAnswer {
  public:
    ChatAnswer(const Service& service, const ChatRequest& chat, std::shared_ptr<ResponseWriter> writer)
        : service_(service),
          writer_(std::move(writer)),
          id_(random_id("chatcmpl-")),
          model_(chat.model),
          created_(unix_time()),
          choices_(static_cast<std::size_t>(chat.request.n)),
          tools_(chat.tools),
          include_usage_(chat.include_usage),
          return_progress_(chat.return_progress),
          logprobs_(chat.request.generation.top_logprobs >= 0) {}
    virtual ~ChatAnswer() = default;

    // From now on events are answered; what has come before waits, as the answer may still be a refusal.
    void start() {
        std::lock_guard lock(mutex_);
        begin();
        started_ = true;
        for (const auto& event : std::exchange(early_, {})) handle(event);
    }

    void on(const Event& event) {
        std::lock_guard lock(mutex_);
        if (started_)
            handle(event);
        else
            early_.push_back(event);
    }

  protected:
    virtual void begin() {}
    virtual void handle(const Event& event) = 0;

    ordered_json envelope(const char* object) const {
        return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}};
    }

    const Service& service_;
    const std::shared_ptr<ResponseWriter> writer_;
    const std::string id_, model_;
    const std::int64_t created_;
    const std::size_t choices_;
    const ToolSet tools_;
    const bool include_usage_, return_progress_, logprobs_;

  private:
    std::mutex mutex_;  // never held for long, as the model waits for it
    bool started_ = false;
    std::vector<Event> early_;
};

class StreamedChat : public ChatAnswer {
  public:
    using ChatAnswer::ChatAnswer;

    void begin() override {
        writer_->start_stream();
        for (std::size_t i = 0; i < choices_; ++i)
            send(static_cast<int>(i), {{"role", "assistant"}, {"content", ""}});
    }

    void handle(const Event& event) override {
        using Kind = Event::Kind;
        if (event.kind != Kind::done) write_last();
        switch (event.kind) {
            case Kind::started:
                usage_ = event.usage;
                start_ = Clock::now();
                break;
            case Kind::progress: progress(event); break;
            case Kind::reasoning: send(event.choice, {{"reasoning_content", event.text}}); break;
            case Kind::content: send(event.choice, {{"content", event.text}}, event.logprobs); break;
            case Kind::call_start: start_call(event); break;
            case Kind::call_arguments:
                if (const auto input = inputs_.find({event.choice, event.call}); input != inputs_.end())
                    extend_input(event, input->second.feed(event.text));
                else
                    call(event, {{"index", event.call}, {"function", {{"arguments", event.text}}}});
                break;
            case Kind::call_end:
                if (const auto input = inputs_.find({event.choice, event.call}); input != inputs_.end())
                    extend_input(event, input->second.finish());
                break;
            case Kind::finished: {
                auto json = chunk(event.choice, ordered_json::object());
                json["choices"][0]["finish_reason"] = event.finish_reason;
                last_ = std::move(json);
                break;
            }
            case Kind::done: done(event); break;
            case Kind::failed:
                write(openai_error_json(*event.error));
                writer_->finish();
                break;
            case Kind::prompt_logprobs: break;
        }
    }

  private:
    void start_call(const Event& event) {
        const auto form = tools_.form(event.text);
        const bool custom = form.kind == ToolForm::Kind::custom;
        const char* kind = custom ? "custom" : "function";
        if (custom) inputs_[{event.choice, event.call}];
        call(event, {{"index", event.call},
                     {"id", event.id},
                     {"type", kind},
                     {kind, {{"name", form.name}, {custom ? "input" : "arguments", ""}}}});
    }

    void extend_input(const Event& event, const std::string& text) {
        if (!text.empty()) call(event, {{"index", event.call}, {"custom", {{"input", text}}}});
    }

    ordered_json chunk(int choice, ordered_json delta) const {
        auto json = envelope("chat.completion.chunk");
        ordered_json one = {{"index", choice},
                            {"delta", std::move(delta)},
                            {"logprobs", nullptr},
                            {"finish_reason", nullptr}};
        json["choices"] = ordered_json::array({std::move(one)});
        if (include_usage_) json["usage"] = nullptr;
        return json;
    }

    void write(const ordered_json& json) {
        last_write_ = Clock::now();
        writer_->write(sse_data(json));
    }

    void send(int choice, ordered_json delta, const std::vector<Logprobs>& logprobs = {}) {
        auto json = chunk(choice, std::move(delta));
        if (!logprobs.empty()) {
            auto& target = json["choices"][0]["logprobs"];
            target = {{"content", ordered_json::array()}, {"refusal", nullptr}};
            append_logprobs(service_, logprobs, target["content"]);
        }
        write(json);
    }

    void call(const Event& event, ordered_json one) {
        send(event.choice, {{"tool_calls", ordered_json::array({std::move(one)})}});
    }

    void progress(const Event& event) {
        if (!return_progress_ && Clock::now() - last_write_ < kKeepAlive) return;
        auto json = chunk(0, ordered_json::object());
        if (return_progress_) {
            auto time = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start_).count();
            json["prompt_progress"] = {{"total", event.progress_total},
                                       {"cache", usage_.cached_tokens},
                                       {"processed", event.progress_done},
                                       {"time_ms", time}};
        }
        write(json);
    }

    void write_last() {
        if (last_) write(*std::exchange(last_, {}));
    }

    void done(const Event& event) {
        if (include_usage_) {
            write_last();
            last_ = envelope("chat.completion.chunk");
            (*last_)["choices"] = ordered_json::array();
            (*last_)["usage"] = usage_json(event.usage);
        }
        if (last_) add_timings(*last_, event.usage, event.timings);
        write_last();
        writer_->write("data: [DONE]\n\n");
        writer_->finish();
    }

    std::map<std::pair<int, std::size_t>, CustomInput>
        inputs_;                        // of calls of custom tools, by choice and call
    std::optional<ordered_json> last_;  // a chunk that may be the last, which has the timings
    Usage usage_;
    Clock::time_point start_ = Clock::now(), last_write_ = Clock::now();
};

// The arguments of a call as the client's kind of tool has them.
ordered_json call_json(const ToolSet& tools, const ToolCall& call) {
    const auto form = tools.form(call.name);
    if (form.kind == ToolForm::Kind::function)
        return {{"id", call.id},
                {"type", "function"},
                {"function", {{"name", form.name}, {"arguments", call.arguments}}}};
    CustomInput input;
    input.feed(call.arguments);
    input.finish();
    return {{"id", call.id}, {"type", "custom"}, {"custom", {{"name", form.name}, {"input", input.text()}}}};
}

class WholeChat : public ChatAnswer {
  public:
    WholeChat(const Service& service, const ChatRequest& chat, std::shared_ptr<ResponseWriter> writer)
        : ChatAnswer(service, chat, std::move(writer)), all_(choices_) {}

    void handle(const Event& event) override {
        using Kind = Event::Kind;
        auto& choice = all_[static_cast<std::size_t>(event.choice)];
        switch (event.kind) {
            case Kind::reasoning: choice.reasoning += event.text; break;
            case Kind::content:
                choice.content += event.text;
                append_logprobs(service_, event.logprobs, choice.logprobs);
                break;
            case Kind::call_start: choice.calls.push_back({event.id, event.text, ""}); break;
            case Kind::call_arguments: choice.calls.back().arguments += event.text; break;
            case Kind::finished: choice.finish_reason = event.finish_reason; break;
            case Kind::done: respond_json(*writer_, whole(event)); break;
            case Kind::failed: respond_error(*writer_, *event.error, openai_error_json(*event.error)); break;
            default: break;
        }
    }

  private:
    struct Choice {
        std::string reasoning, content, finish_reason;
        std::vector<ToolCall> calls;
        ordered_json logprobs = ordered_json::array();
    };

    ordered_json message_json(const Choice& choice) const {
        // As the original has it: no content beside calls is null. Empty lists are left out: some clients take their
        // presence for a call.
        ordered_json message = {{"role", "assistant"}, {"content", choice.content}, {"refusal", nullptr}};
        if (choice.content.empty() && !choice.calls.empty()) message["content"] = nullptr;
        if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
        for (const auto& call : choice.calls) message["tool_calls"].push_back(call_json(tools_, call));
        return message;
    }

    ordered_json whole(const Event& done) const {
        auto json = envelope("chat.completion");
        json["choices"] = ordered_json::array();
        for (std::size_t i = 0; i < all_.size(); ++i) {
            ordered_json logprobs;
            if (logprobs_) logprobs = {{"content", all_[i].logprobs}, {"refusal", nullptr}};
            json["choices"].push_back({{"index", i},
                                       {"message", message_json(all_[i])},
                                       {"logprobs", logprobs},
                                       {"finish_reason", all_[i].finish_reason}});
        }
        json["usage"] = usage_json(done.usage);
        add_timings(json, done.usage, done.timings);
        return json;
    }

    std::vector<Choice> all_;
};

}  // namespace

void answer_chat(Service& service, ChatRequest chat, std::shared_ptr<ResponseWriter> writer) {
    std::shared_ptr<ChatAnswer> answer;
    if (chat.stream)
        answer = std::make_shared<StreamedChat>(service, chat, writer);
    else
        answer = std::make_shared<WholeChat>(service, chat, writer);
    const auto job =
        submit(service, std::move(chat.request), writer, [answer](const Event& event) { answer->on(event); });
    try {
        answer->start();
    } catch (...) {
        job->cancel();  // else it would go on for nobody
        throw;
    }
}

}  // namespace cachalot::server::openai
