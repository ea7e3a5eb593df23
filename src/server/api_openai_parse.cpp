#include "server/api_openai_parse.h"

#include "sampling/stop.h"
#include "server/conversation_policy.h"

namespace cachalot::server::openai {
namespace {

constexpr int kMaxChoices = 8;
constexpr int kMaxTopLogprobs = 20;
constexpr std::size_t kMaxPrompts = 64;

// What chat and legacy completions share.
void read_common(const Field& body, const HttpRequest& http, const ModelInfo& model, Request& request) {
    auto& generation = request.generation;
    generation.sampling = read_sampling(body, model);
    request.n = static_cast<int>(body["n"].integer_or(1, 1, kMaxChoices));
    if (auto stop = body["stop"]) {
        generation.stops = stop.string_or_array();
        try {
            StopMatcher{generation.stops};
        } catch (const Error& e) {
            throw ApiError(400, "invalid_request", e.what(), "stop");
        }
    }
    generation.ignore_eos = body["ignore_eos"].boolean_or(false);
    request.priority = read_priority(body);
    request.tenant = read_space(body, http);
}

bool read_include_usage(const Field& body) {
    auto options = body["stream_options"];
    return options && options["include_usage"].boolean_or(false);
}

void read_max_tokens(const Field& body, Request& request) {
    auto limit = body["max_completion_tokens"];
    auto old_limit = body["max_tokens"];
    if (old_limit) request.generation.max_tokens = old_limit.integer(1, kMaxTokensLimit);
    if (limit) request.generation.max_tokens = limit.integer(1, kMaxTokensLimit);
    request.max_tokens_given = limit || old_limit;
}

// DeepSeek: thinking {type}; OpenAI: reasoning_effort; vLLM: chat_template_kwargs.
void read_thinking(const Field& body, ChatOptions& chat) {
    if (auto kwargs = body["chat_template_kwargs"]) {
        chat.thinking = kwargs["enable_thinking"].boolean_or(chat.thinking);
        chat.thinking = kwargs["thinking"].boolean_or(chat.thinking);
        if (auto effort = kwargs["reasoning_effort"]) apply_effort(effort, chat);
    }
    if (auto effort = body["reasoning_effort"]) apply_effort(effort, chat);
    if (auto thinking = body["thinking"]) {
        auto type = thinking["type"];
        if (type.string() == "disabled")
            chat.thinking = false;
        else if (type.string() == "enabled")
            chat.thinking = true;
        else if (type.string() != "adaptive" && type.string() != "auto")
            type.refuse("expected enabled, disabled, adaptive or auto");
    }
}

void read_tool_choice(const Field& choice, Request& request) {
    auto by_name = [&](const Field& mode) {
        if (mode.string() == "auto")
            request.tool_choice = ToolChoice::automatic;
        else if (mode.string() == "none")
            request.tool_choice = ToolChoice::none;
        else if (mode.string() == "required")
            request.tool_choice = ToolChoice::required;
        else
            mode.refuse("expected auto, none, required or a function");
    };
    if (choice.is_string()) return by_name(choice);
    if (!choice.is_object()) choice.wrong("a string or an object");
    auto type = choice["type"];
    if (type.string() == "function") {
        request.tool_choice = ToolChoice::named;
        request.named_tool = choice["function"]["name"].string();
    } else if (type.string() == "allowed_tools") {
        by_name(choice["allowed_tools"]["mode"]);
    } else {
        by_name(type);
    }
}

void read_response_format(const Field& format, Request& request) {
    auto type = format["type"];
    if (type.string() == "json_object")
        request.json_object = true;
    else if (type.string() == "json_schema")
        type.refuse("json_schema is not supported; json_object is");
    else if (type.string() != "text")
        type.refuse("expected text or json_object");
}

void read_chat_logprobs(const Field& body, Request& request) {
    bool wanted = body["logprobs"].boolean_or(false);
    auto top = body["top_logprobs"];
    auto count = static_cast<int>(top.integer_or(0, 0, kMaxTopLogprobs));
    if (top && !wanted) top.refuse("needs logprobs to be true");
    if (wanted) request.generation.top_logprobs = count;
}

std::vector<std::int32_t> read_tokens(const Field& list, const ModelInfo& model) {
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < list.size(); ++i)
        tokens.push_back(static_cast<std::int32_t>(list[i].integer(0, model.vocab_size - 1)));
    if (tokens.empty()) list.refuse("must not be empty");
    return tokens;
}

// A text, tokens, or a list of either: one request for each.
std::vector<Request> read_prompts(const Field& prompt, const Request& base, const ModelInfo& model) {
    std::vector<Request> requests;
    auto add = [&](const Field& one) {
        Request request = base;
        if (one.is_string())
            request.text = {{one.string(), SpecialTokens::literal}};
        else
            request.tokens = read_tokens(one, model);
        requests.push_back(std::move(request));
    };
    if (!prompt.is_string() && !prompt.is_array()) prompt.wrong("a string or an array");
    if (prompt.is_string() || (prompt.size() > 0 && prompt[std::size_t{0}].is_integer())) {
        add(prompt);
        return requests;
    }
    if (prompt.size() == 0) prompt.refuse("must not be empty");
    if (prompt.size() > kMaxPrompts) prompt.refuse(fmt::format("at most {} prompts", kMaxPrompts));
    for (std::size_t i = 0; i < prompt.size(); ++i) {
        if (!prompt[i].is_string() && !prompt[i].is_array())
            prompt[i].wrong("a string or an array of tokens");
        add(prompt[i]);
    }
    return requests;
}

}  // namespace

ChatRequest parse_chat(const HttpRequest& http, const ModelInfo& model) {
    auto json = parse_body(http);
    Field body(json);
    ChatRequest chat;
    auto& request = chat.request;
    request.chat = model.chat;
    read_common(body, http, model, request);
    read_max_tokens(body, request);
    read_thinking(body, request.chat);
    read_chat_logprobs(body, request);
    if (auto choice = body["tool_choice"]) read_tool_choice(choice, request);
    request.parallel_tool_calls = body["parallel_tool_calls"].boolean_or(true);
    if (auto format = body["response_format"]) read_response_format(format, request);
    chat.model = body["model"].string_or(model.id);
    chat.stream = body["stream"].boolean_or(false);
    chat.include_usage = read_include_usage(body);
    chat.return_progress = body["return_progress"].boolean_or(false);
    request.conversation = read_conversation(json);
    if (model.remove_client_noise) remove_client_noise(request.conversation);
    return chat;
}

CompletionRequest parse_completion(const HttpRequest& http, const ModelInfo& model) {
    auto json = parse_body(http);
    Field body(json);
    CompletionRequest completion;
    Request base;
    base.raw = true;
    read_common(body, http, model, base);
    if (auto suffix = body["suffix"]; suffix && !suffix.string().empty())
        suffix.refuse("filling in the middle is not supported");
    if (auto best = body["best_of"]; best && best.integer(1, kMaxChoices) != base.n)
        best.refuse("only as many as n are supported");
    base.generation.max_tokens = body["max_tokens"].integer_or(16, 0, kMaxTokensLimit);
    base.max_tokens_given = true;
    base.echo = body["echo"].boolean_or(false);
    base.generation.top_logprobs = static_cast<int>(body["logprobs"].integer_or(-1, 0, kMaxTopLogprobs));
    completion.model = body["model"].string_or(model.id);
    completion.stream = body["stream"].boolean_or(false);
    completion.include_usage = read_include_usage(body);
    completion.requests = read_prompts(body["prompt"], base, model);
    return completion;
}

}  // namespace cachalot::server::openai
