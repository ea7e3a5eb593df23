#include "server/api/openai_parse.h"

#include "sampling/stop.h"
#include "server/api/answer_forms.h"
#include "server/api/fields.h"
#include "server/api/thinking.h"
#include "service/conversation_policy.h"

namespace cachalot::server::openai {
namespace {

constexpr int kMaxChoices = 8;
constexpr int kMaxTopLogprobs = 20;
constexpr std::size_t kMaxPrompts = 64;

// What chat and legacy completions share.
void read_common(const Field& body, const HttpRequest& http, const ModelInfo& model, Request& request) {
    auto& generation = request.generation;
    generation.sampling = read_sampling(body, model);
    request.longest_draft = read_longest_draft(body, model);
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
    const auto limit = body["max_completion_tokens"], old_limit = body["max_tokens"];
    const auto tokens = read_token_limit(limit, 1), old_tokens = read_token_limit(old_limit, 1);
    if (const auto& wins = limit ? tokens : old_tokens) {
        request.generation.max_tokens = *wins;
        request.max_tokens_given = true;
    }
}

// Tools without a type are functions.
ToolSet read_tools(const Field& list, ChatFormat format) {
    ToolSet tools(format);
    const auto add = [&](ToolForm::Kind kind, const Field& tool, const Field& inner, ordered_json parts) {
        ToolForm form{kind, tool_name(inner["name"]), {}};
        read_namespace(tool, inner, format, form, parts);
        tools.add(std::move(form), std::move(parts));
    };
    for (std::size_t i = 0; list && i < list.size(); ++i) {
        const auto tool = list[i];
        const auto type = tool["type"].string_or("function");
        if (type == "function") {
            const auto function = tool["function"];
            function["strict"].boolean_or(false);
            add(ToolForm::Kind::function, tool, function, function_parts(function));
        } else if (type == "custom") {
            const auto custom = tool["custom"];
            add(ToolForm::Kind::custom, tool, custom,
                custom_function(custom["description"], custom["format"]));
        } else if (runs_at_provider(tool)) {
            tools.leave_out(tool["name"] ? tool["name"].string() : type);
        } else if (type != "namespace" || (tool["tools"] && tool["tools"].size() > 0)) {
            // A group of no tools is none; one of some has no form in which its calls could come back.
            refuse_tool_type(tool["type"], "function or custom");
        }
    }
    return tools;
}

void read_tool_choice(const Field& choice, ToolSet& tools, Request& request) {
    auto by_name = [&](const Field& mode) {
        if (mode.string() == "auto")
            request.tool_choice = ToolChoice::automatic;
        else if (mode.string() == "none")
            request.tool_choice = ToolChoice::none;
        else if (mode.string() == "required")
            request.tool_choice = ToolChoice::required;
        else
            mode.refuse("expected auto, none, required, a function or a custom tool");
    };
    if (!choice) return;
    if (choice.is_string()) return by_name(choice);
    if (!choice.is_object()) choice.wrong("a string or an object");
    auto type = choice["type"];
    if (type.string() == "function" || type.string() == "custom") {
        const auto chosen = choice[type.string().c_str()];
        const auto group = choice["namespace"] ? choice["namespace"] : chosen["namespace"];
        const bool grouped = tools.format() == ChatFormat::v41;
        tools.choose(chosen["name"], grouped ? group.string_or("") : "", false, request);
    } else if (type.string() == "allowed_tools") {
        const auto allowed = choice["allowed_tools"];
        by_name(allowed["mode"]);
        if (const auto list = allowed["tools"]) tools.restrict_to(list, true);
    } else {
        by_name(type);
    }
}

void read_chat_logprobs(const Field& body, Request& request) {
    bool wanted = body["logprobs"].boolean_or(false);
    auto top = body["top_logprobs"];
    auto count = static_cast<int>(top.integer_or(0, 0, kMaxTopLogprobs));
    if (count > 0 && !wanted) top.refuse("needs logprobs to be true");
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
    if (prompt.is_string() || (prompt.size() > 0 && prompt[std::size_t{0}].is_number())) {
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

// Whether an answer is begun or continued follows from the last message; a request that says otherwise is
// refused.
void check_continuation(const Field& body, const Conversation& conversation) {
    const bool begun = conversation.messages.back().role == Role::assistant;
    const auto goes_on = body["continue_final_message"], header = body["add_generation_prompt"];
    if (goes_on && goes_on.boolean() && !begun)
        goes_on.refuse("the last message is not of the assistant; there is nothing to continue");
    if (goes_on && !goes_on.boolean() && begun)
        goes_on.refuse("the last message is of the assistant, and is always continued");
    if (header && !header.boolean() && !begun)
        header.refuse("not supported: a conversation is always followed by an answer");
}

}  // namespace

ChatRequest parse_chat(const HttpRequest& http, const ModelInfo& model) {
    auto json = parse_body(http);
    Field body(json);
    ChatRequest chat;
    auto& request = chat.request;
    request.chat = model.chat;
    check_fields(body, Dialect::chat);
    read_common(body, http, model, request);
    read_max_tokens(body, request);
    read_thinking(body, request);
    read_chat_logprobs(body, request);
    chat.tools = read_tools(body["tools"], model.chat.format);
    read_tool_choice(body["tool_choice"], chat.tools, request);
    request.parallel_tool_calls = body["parallel_tool_calls"].boolean_or(true);
    request.form = read_answer_form(body, Dialect::chat);
    chat.model = body["model"].string_or(model.id);
    chat.stream = body["stream"].boolean_or(false);
    chat.include_usage = read_include_usage(body);
    chat.return_progress = body["return_progress"].boolean_or(false);
    request.conversation.messages = read_messages(body["messages"], model.chat.format);
    request.conversation.tools = chat.tools.functions();
    check_continuation(body, request.conversation);
    if (model.remove_client_noise) remove_client_noise(request.conversation);
    return chat;
}

CompletionRequest parse_completion(const HttpRequest& http, const ModelInfo& model) {
    auto json = parse_body(http);
    Field body(json);
    CompletionRequest completion;
    Request base;
    base.raw = true;
    check_fields(body, Dialect::completions);
    read_common(body, http, model, base);
    base.form = read_answer_form(body, Dialect::completions);
    if (auto suffix = body["suffix"]; suffix && !suffix.string().empty())
        suffix.refuse("filling in the middle is not supported");
    if (auto best = body["best_of"]; best && best.integer(1, kMaxChoices) != base.n)
        best.refuse("only as many as n are supported");
    const auto limit = read_token_limit(body["max_tokens"], 0);
    base.max_tokens_given = limit || !body["max_tokens"];
    base.generation.max_tokens = base.max_tokens_given ? limit.value_or(16) : -1;
    base.echo = body["echo"].boolean_or(false);
    base.generation.top_logprobs = static_cast<int>(body["logprobs"].integer_or(-1, 0, kMaxTopLogprobs));
    completion.model = body["model"].string_or(model.id);
    completion.stream = body["stream"].boolean_or(false);
    completion.include_usage = read_include_usage(body);
    completion.requests = read_prompts(body["prompt"], base, model);
    return completion;
}

}  // namespace cachalot::server::openai
