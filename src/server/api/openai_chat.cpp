// Chat completions. A stream starts at once, before the request's turn has come: clients give up on
// connections that stay silent. While the prompt is read they get chunks with an empty delta, since not all
// of them count comments as life.
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "server/api/answer.h"
#include "server/api/custom_input.h"
#include "server/api/openai_write.h"

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
    const DraftFigures& drafts = timings->drafts;
    json["drafts"] = drafts.drafts;
    json["draft_n"] = drafts.drafted;
    json["draft_n_accepted"] = drafts.accepted;
    if (drafts.gain > 0) json["draft_gain"] = std::round(drafts.gain * 100) / 100;
}

std::string LastChunk::hold(ordered_json chunk) {
    std::string before = release();
    chunk_ = std::move(chunk);
    return before;
}

std::string LastChunk::release() {
    const auto chunk = std::exchange(chunk_, {});
    return chunk ? sse_data(*chunk) : std::string();
}

std::string LastChunk::end(const Event& done) {
    if (chunk_) add_timings(*chunk_, done.usage, done.timings);
    return release() + "data: [DONE]\n\n";
}

namespace {

using Clock = std::chrono::steady_clock;

void append_logprobs(const Service& service, const std::vector<Logprobs>& logprobs, ordered_json& list) {
    const auto as_json = [&](const TokenLogprob& token) {
        return token_json(token, service.detokenize({&token.token, 1}));
    };
    for (const auto& one : logprobs) {
        auto json = as_json(one.chosen);
        json["top_logprobs"] = ordered_json::array();
        for (const auto& other : one.top) json["top_logprobs"].push_back(as_json(other));
        list.push_back(std::move(json));
    }
}

// The group of a tool stands beside its function.
ordered_json in_namespace(const ToolForm& form, ordered_json call) {
    if (!form.name_space.empty()) call["namespace"] = form.name_space;
    return call;
}

// The arguments of a call as the client's kind of tool has them.
ordered_json call_json(const ToolSet& tools, const ToolCall& call) {
    const auto form = tools.form(call.name);
    if (form.kind == ToolForm::Kind::function)
        return in_namespace(form, {{"id", call.id},
                                   {"type", "function"},
                                   {"function", {{"name", form.name}, {"arguments", call.arguments}}}});
    CustomInput input;
    input.feed(call.arguments);
    input.finish();
    return in_namespace(
        form,
        {{"id", call.id}, {"type", "custom"}, {"custom", {{"name", form.name}, {"input", input.text()}}}});
}

class ChatAnswer : public Answer {
  public:
    ChatAnswer(const Service& service, const ChatRequest& chat)
        : service_(service),
          id_(random_id("chatcmpl-")),
          model_(chat.model),
          created_(unix_time()),
          tools_(chat.tools),
          stream_(chat.stream),
          include_usage_(chat.include_usage),
          return_progress_(chat.return_progress),
          logprobs_(chat.request.generation.top_logprobs >= 0),
          choices_(static_cast<std::size_t>(chat.request.n)) {}

    std::string start() override {
        std::string bytes;
        for (std::size_t i = 0; i < choices_.size(); ++i)
            bytes += delta(static_cast<int>(i), {{"role", "assistant"}, {"content", ""}});
        return bytes;
    }

    std::string feed(const Event& event) override {
        if (event.kind == Event::Kind::started) {
            usage_ = event.usage;
            start_ = Clock::now();
        }
        if (stream_ && event.kind == Event::Kind::done) return end(event);
        if (stream_) {
            const std::string before = last_.release();
            return before + chunks(event);
        }
        collect(event);
        return {};
    }

    std::string keep_alive(const Event& progress) override {
        auto json = chunk(0, ordered_json::object());
        if (return_progress_) {
            auto time = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start_).count();
            json["prompt_progress"] = {{"total", progress.progress_total},
                                       {"cache", usage_.cached_tokens},
                                       {"processed", progress.progress_done},
                                       {"time_ms", time}};
        }
        return last_.release() + sse_data(json);
    }

    std::string fail(const ApiError& error) override {
        return last_.release() + sse_data(openai_error_json(error));
    }
    ordered_json error_body(const ApiError& error) const override { return openai_error_json(error); }

    std::string whole() const override {
        auto json = envelope("chat.completion");
        json["choices"] = ordered_json::array();
        for (std::size_t i = 0; i < choices_.size(); ++i) {
            ordered_json logprobs;
            if (logprobs_) logprobs = {{"content", choices_[i].logprobs}, {"refusal", nullptr}};
            json["choices"].push_back({{"index", i},
                                       {"message", message_json(choices_[i])},
                                       {"logprobs", logprobs},
                                       {"finish_reason", choices_[i].finish_reason}});
        }
        json["usage"] = usage_json(usage_);
        add_timings(json, usage_, timings_);
        return dump(json);
    }

  private:
    struct Choice {
        std::string reasoning, content, finish_reason;
        std::vector<ToolCall> calls;
        ordered_json logprobs = ordered_json::array();
    };

    // --- as a stream

    std::string chunks(const Event& event) {
        using Kind = Event::Kind;
        switch (event.kind) {
            case Kind::reasoning: return delta(event.choice, {{"reasoning_content", event.text}});
            case Kind::content: return delta(event.choice, {{"content", event.text}}, event.logprobs);
            case Kind::call_start: return start_call(event);
            case Kind::call_arguments:
                if (const auto input = inputs_.find({event.choice, event.call}); input != inputs_.end())
                    return extend_input(event, input->second.feed(event.text));
                return call(event, {{"index", event.call}, {"function", {{"arguments", event.text}}}});
            case Kind::call_end:
                if (const auto input = inputs_.find({event.choice, event.call}); input != inputs_.end())
                    return extend_input(event, input->second.finish());
                return {};
            case Kind::finished: {
                auto json = chunk(event.choice, ordered_json::object());
                json["choices"][0]["finish_reason"] = event.finish_reason;
                return last_.hold(std::move(json));
            }
            case Kind::done:
            case Kind::started:
            case Kind::progress:
            case Kind::prompt_logprobs:
            case Kind::failed: return {};
        }
        return {};
    }

    std::string start_call(const Event& event) {
        const auto form = tools_.form(event.text);
        const bool custom = form.kind == ToolForm::Kind::custom;
        const char* kind = custom ? "custom" : "function";
        if (custom) inputs_[{event.choice, event.call}];
        return call(
            event, in_namespace(form, {{"index", event.call},
                                       {"id", event.id},
                                       {"type", kind},
                                       {kind, {{"name", form.name}, {custom ? "input" : "arguments", ""}}}}));
    }

    std::string extend_input(const Event& event, const std::string& text) const {
        if (text.empty()) return {};
        return call(event, {{"index", event.call}, {"custom", {{"input", text}}}});
    }

    std::string call(const Event& event, ordered_json one) const {
        return delta(event.choice, {{"tool_calls", ordered_json::array({std::move(one)})}});
    }

    std::string delta(int choice, ordered_json delta, const std::vector<Logprobs>& logprobs = {}) const {
        auto json = chunk(choice, std::move(delta));
        if (!logprobs.empty()) {
            auto& target = json["choices"][0]["logprobs"];
            target = {{"content", ordered_json::array()}, {"refusal", nullptr}};
            append_logprobs(service_, logprobs, target["content"]);
        }
        return sse_data(json);
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

    std::string end(const Event& done) {
        std::string bytes;
        if (include_usage_) {
            auto json = envelope("chat.completion.chunk");
            json["choices"] = ordered_json::array();
            json["usage"] = usage_json(done.usage);
            bytes = last_.hold(std::move(json));
        }
        return bytes + last_.end(done);
    }

    // --- whole

    void collect(const Event& event) {
        using Kind = Event::Kind;
        auto& choice = choices_[static_cast<std::size_t>(event.choice)];
        switch (event.kind) {
            case Kind::reasoning: choice.reasoning += event.text; break;
            case Kind::content:
                choice.content += event.text;
                append_logprobs(service_, event.logprobs, choice.logprobs);
                break;
            case Kind::call_start: choice.calls.push_back({event.id, event.text, ""}); break;
            case Kind::call_arguments: choice.calls.back().arguments += event.text; break;
            case Kind::finished: choice.finish_reason = event.finish_reason; break;
            case Kind::done:
                usage_ = event.usage;
                timings_ = event.timings;
                break;
            default: break;
        }
    }

    ordered_json message_json(const Choice& choice) const {
        // As the original has it: no content beside calls is null. Empty lists are left out: some clients
        // take their presence for a call.
        ordered_json message = {{"role", "assistant"}, {"content", choice.content}, {"refusal", nullptr}};
        if (choice.content.empty() && !choice.calls.empty()) message["content"] = nullptr;
        if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
        for (const auto& call : choice.calls) message["tool_calls"].push_back(call_json(tools_, call));
        return message;
    }

    ordered_json envelope(const char* object) const {
        return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}};
    }

    const Service& service_;
    const std::string id_, model_;
    const std::int64_t created_;
    const ToolSet tools_;
    const bool stream_, include_usage_, return_progress_, logprobs_;
    Usage usage_;
    std::optional<RequestTimings> timings_;
    LastChunk last_;
    Clock::time_point start_ = Clock::now();
    std::map<std::pair<int, std::size_t>, CustomInput>
        inputs_;                   // of calls of custom tools, by choice and call
    std::vector<Choice> choices_;  // what they have so far, unless streamed
};

}  // namespace

void answer_chat(Service& service, ChatRequest chat, std::shared_ptr<ResponseWriter> writer) {
    AnswerOptions options{chat.stream, kKeepAlive};
    if (chat.return_progress) options.keep_alive = {};  // all that there is
    auto answer = std::make_unique<ChatAnswer>(service, chat);
    run_answer(service, std::move(chat.request), std::move(answer), std::move(writer), options);
}

}  // namespace cachalot::server::openai
