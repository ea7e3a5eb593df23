// Legacy completions: a text is continued. Evaluation harnesses live on `echo` with `logprobs`, and send many
// prompts at once: each becomes a request of its own, choices are numbered prompt by prompt.
#include <algorithm>
#include <cmath>
#include <utility>

#include "server/api/answer.h"
#include "server/api/openai_write.h"
#include "text/utf8.h"

namespace cachalot::server::openai {
namespace {

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

class CompletionAnswer : public Answer {
  public:
    CompletionAnswer(const Service& service, const CompletionRequest& completion)
        : service_(service),
          id_(random_id("cmpl-")),
          model_(completion.model),
          created_(unix_time()),
          stream_(completion.stream),
          include_usage_(completion.include_usage),
          scored_(completion.requests.front().generation.top_logprobs >= 0),
          choices_(completion.requests.size() * static_cast<std::size_t>(completion.requests.front().n)) {}

    std::string start() override { return {}; }

    std::string feed(const Event& event) override {
        using Kind = Event::Kind;
        switch (event.kind) {
            case Kind::prompt_logprobs:
            case Kind::content: return add_text(event);
            case Kind::finished:
                choice_of(event).finish_reason = event.finish_reason;
                return stream_ ? last_.hold(chunk(event.choice, "", ordered_json(), event.finish_reason))
                               : "";
            case Kind::done:
                usage_ = event.usage;
                timings_ = event.timings;
                return stream_ ? end(event) : "";
            default: return {};
        }
    }

    std::string keep_alive(const Event& progress) override {
        return last_.release() + sse_data(chunk(progress.choice, "", ordered_json(), nullptr));
    }
    std::string fail(const ApiError& error) override {
        return last_.release() + sse_data(openai_error_json(error));
    }
    ordered_json error_body(const ApiError& error) const override { return openai_error_json(error); }

    std::string whole() const override {
        auto json = envelope_with_usage();
        for (std::size_t i = 0; i < choices_.size(); ++i)
            json["choices"].push_back(choice_json(static_cast<int>(i), choices_[i].text,
                                                  scored_ ? choices_[i].logprobs.json() : ordered_json(),
                                                  choices_[i].finish_reason));
        add_timings(json, usage_, timings_);
        return dump(json);
    }

  private:
    struct Choice {
        std::string text, finish_reason;  // text: unless streamed
        LogprobLists logprobs;            // streamed: the offset only
    };

    Choice& choice_of(const Event& event) { return choices_[static_cast<std::size_t>(event.choice)]; }

    std::string add_text(const Event& event) {
        auto& choice = choice_of(event);
        if (!stream_) choice.text += event.text;
        LogprobLists piece;
        auto& lists = stream_ ? piece : choice.logprobs;
        lists.offset = choice.logprobs.offset;
        for (const auto& one : event.logprobs) lists.append(service_, one);
        choice.logprobs.offset = lists.offset;
        if (!stream_) return {};
        return last_.release() +
               sse_data(chunk(event.choice, event.text, scored_ ? piece.json() : ordered_json(), nullptr));
    }

    ordered_json chunk(int choice, const std::string& text, ordered_json logprobs,
                       ordered_json finish_reason) const {
        auto json = envelope();
        json["choices"] =
            ordered_json::array({choice_json(choice, text, std::move(logprobs), std::move(finish_reason))});
        if (include_usage_) json["usage"] = nullptr;
        return json;
    }

    std::string end(const Event& done) {
        std::string bytes;
        if (include_usage_) bytes = last_.hold(envelope_with_usage());
        return bytes + last_.end(done);
    }

    ordered_json envelope() const {
        return {{"id", id_}, {"object", "text_completion"}, {"created", created_}, {"model", model_}};
    }

    ordered_json envelope_with_usage() const {
        auto json = envelope();
        json["choices"] = ordered_json::array();
        json["usage"] = usage_json(usage_);
        return json;
    }

    static ordered_json choice_json(int index, const std::string& text, ordered_json logprobs,
                                    ordered_json finish_reason) {
        return {{"text", text},
                {"index", index},
                {"logprobs", std::move(logprobs)},
                {"finish_reason", std::move(finish_reason)}};
    }

    const Service& service_;
    const std::string id_, model_;
    const std::int64_t created_;
    const bool stream_, include_usage_, scored_;
    Usage usage_;
    std::optional<RequestTimings> timings_;
    LastChunk last_;
    std::vector<Choice> choices_;
};

}  // namespace

void answer_completion(Service& service, CompletionRequest completion,
                       std::shared_ptr<ResponseWriter> writer) {
    auto answer = std::make_unique<CompletionAnswer>(service, completion);
    run_answers(service, std::move(completion.requests), std::move(answer), std::move(writer),
                {completion.stream, kKeepAlive});
}

}  // namespace cachalot::server::openai
