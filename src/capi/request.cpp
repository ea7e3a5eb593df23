#include <random>

#include "capi/answer.h"
#include "capi/conversation.h"
#include "capi/engine.h"
#include "capi/sized.h"
#include "text/chat_json.h"

struct cachalot_request {
    std::shared_ptr<cachalot::capi::Answer> answer;
};

namespace cachalot::capi {
namespace {

constexpr std::size_t kFirstRequest = CACHALOT_SIZE_UP_TO(cachalot_request_options, on_event_user);
constexpr std::size_t kFirstResult = CACHALOT_SIZE_UP_TO(cachalot_result, usage);
constexpr float kRecommended = -1;

cachalot_request_options default_request() {
    cachalot_request_options o{};
    o.temperature = o.top_p = kRecommended;
    o.repetition_penalty = 1;
    o.seed = o.max_tokens = -1;
    return o;
}

std::uint64_t seed_of(std::int64_t seed) {
    if (seed < -1) invalid("seed: {} is negative; -1 stands for a new one each time", seed);
    if (seed >= 0) return static_cast<std::uint64_t>(seed);
    std::random_device random;
    return (std::uint64_t{random()} << 32) | random();
}

void read_tool_choice(const char* choice, server::Request& request) {
    constexpr std::string_view kNamed = "function:";
    const std::string_view text = choice ? choice : "auto";
    if (text.starts_with(kNamed)) {
        request.tool_choice = server::ToolChoice::named;
        request.named_tool = text.substr(kNamed.size());
    } else if (text == "none") {
        request.tool_choice = server::ToolChoice::none;
    } else if (text == "required") {
        request.tool_choice = server::ToolChoice::required;
    } else if (text != "auto") {
        invalid("tool_choice: '{}' is not auto, none, required or function:NAME", text);
    }
}

void read_prompt(const cachalot_request_options& o, ChatFormat format, server::Request& request) {
    const int given = (o.messages != nullptr) + (o.text != nullptr) + (o.tokens != nullptr);
    if (given != 1) invalid("one of messages, text and tokens is needed; {} are given", given);
    if (o.messages) {
        read_conversation(o.messages, o.tools, o.thinking, format, request);
        read_tool_choice(o.tool_choice, request);
        request.parallel_tool_calls = !flag(o.single_call, "single_call");
        return;
    }
    if (o.tools || o.tool_choice || o.thinking != CACHALOT_THINK_OFF || o.single_call)
        invalid("tools, tool_choice, thinking and single_call belong to messages");
    request.raw = true;
    if (o.tokens) {
        if (o.token_count == 0) invalid("tokens: there are none");
        const auto tokens = elements(o.tokens, o.token_count, "tokens");
        request.tokens.assign(tokens.begin(), tokens.end());
    } else {
        const auto text = elements(o.text, o.text_size, "text");
        request.text = {{std::string(text.begin(), text.end()), SpecialTokens::literal}};
    }
}

void read_generation(const cachalot_request_options& o, GenerationOptions& generation) {
    auto& sampling = generation.sampling;
    if (o.temperature != kRecommended) sampling.temperature = o.temperature;
    if (o.top_p != kRecommended) sampling.top_p = o.top_p;
    sampling.min_p = o.min_p;
    sampling.top_k = o.top_k;
    sampling.repetition_penalty = o.repetition_penalty;
    sampling.presence_penalty = o.presence_penalty;
    sampling.frequency_penalty = o.frequency_penalty;
    sampling.seed = seed_of(o.seed);
    generation.ignore_eos = flag(o.ignore_eos, "ignore_eos");
    generation.max_tokens = o.max_tokens;
    generation.stops = strings(o.stops, o.stop_count, "stops");
}

nlohmann::ordered_json schema_of(const char* text) {
    try {
        return parse_json(text, "json_schema");
    } catch (const Error& e) {
        invalid("{}", e.what());
    }
}

AnswerForm read_form(const cachalot_request_options& o) {
    using Kind = AnswerForm::Kind;
    if (o.reserved != 0) invalid("options.reserved is {}, not 0", o.reserved);
    const bool object = flag(o.json_object, "json_object");
    const int given = (o.json_schema != nullptr) + (o.regex != nullptr) + (o.grammar != nullptr) + object;
    if (given > 1)
        invalid("json_schema, regex, grammar and json_object exclude each other; {} are given", given);
    if (o.json_schema) return {Kind::json_schema, schema_of(o.json_schema), {}, {}, "json_schema"};
    if (o.regex) return {Kind::regex, {}, o.regex, {}, "regex"};
    if (o.grammar) return {Kind::ebnf, {}, o.grammar, {}, "grammar"};
    if (object) return {Kind::json_object, {}, {}, {}, "json_object"};
    return {};
}

server::Request read_request(const cachalot_request_options& o, const server::Service& service) {
    server::Request request;
    read_prompt(o, service.info().chat.format, request);
    request.generation.sampling = service.info().sampling;
    read_generation(o, request.generation);
    request.form = read_form(o);
    request.max_tokens_given = o.max_tokens >= 0;
    if (o.space) request.tenant = o.space;
    return request;
}

}  // namespace
}  // namespace cachalot::capi

using namespace cachalot::capi;

void cachalot_request_options_init(cachalot_request_options* options, size_t size) {
    init_sized(options, size, default_request());
}

cachalot_status cachalot_submit(cachalot_engine* engine, const cachalot_request_options* options,
                                cachalot_request** request, cachalot_error* error) {
    if (request) *request = nullptr;
    return guarded(error, [&] {
        need(engine, "engine");
        need(options, "options");
        need(request, "request");
        const auto o = read_sized(options, default_request(), kFirstRequest, "options");
        auto& service = *engine->opened->service;
        auto asked = read_request(o, service);
        auto handle = std::make_unique<cachalot_request>();
        const auto answer = std::make_shared<Answer>(o.on_event, o.on_event_user, engine->closing);
        handle->answer = answer;
        asked.abandoned = [answer] { return answer->cancelled(); };
        service.submit(std::move(asked), Answer::sink(answer));
        *request = handle.release();
        answer->accepted();
    });
}

void cachalot_cancel(cachalot_request* request) {
    if (request) request->answer->cancel();
}

cachalot_status cachalot_wait(cachalot_request* request, int64_t timeout, cachalot_result* result,
                              cachalot_error* error) {
    return guarded(error, [&] {
        need(request, "request");
        CallbackScope::refuse("cachalot_wait");
        if (result) write_sized(result, cachalot_result{}, kFirstResult, "result");
        const auto known = request->answer->wait(timeout);
        if (result) write_sized(result, known, kFirstResult, "result");
    });
}

void cachalot_request_free(cachalot_request* request) {
    if (!request) return;
    request->answer->cancel();
    if (!CallbackScope::active()) (void)cachalot_wait(request, -1, nullptr, nullptr);
    delete request;
}
