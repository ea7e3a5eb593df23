#include "server/prepared_prompt.h"

#include <algorithm>
#include <limits>

#include "server/conversation_policy.h"
#include "text/prompt_protocol.h"

namespace cachalot::server {
namespace {

bool any_tools(const Conversation& conversation) {
    return !conversation.tools.empty() ||
           std::any_of(conversation.messages.begin(), conversation.messages.end(),
                       [](const Message& m) { return !m.tools.empty(); });
}

bool has_tool(const Conversation& conversation, const std::string& name) {
    auto named = [&](const nlohmann::ordered_json& tool) { return tool.value("name", "") == name; };
    auto among = [&](const auto& tools) { return std::any_of(tools.begin(), tools.end(), named); };
    return among(conversation.tools) ||
           std::any_of(conversation.messages.begin(), conversation.messages.end(),
                       [&](const Message& m) { return among(m.tools); });
}

// Encodes the parts, with the tokens of remembered answers in their places. Every border is next to a special token,
// so the pieces may be tokenised each on its own.
std::vector<std::int32_t> encode_with(const Tokenizer& tokenizer, const Prompt& prompt,
                                      const std::vector<ToolMemory::Turn>& turns, std::size_t end) {
    std::vector<std::int32_t> tokens;
    auto append = [&](const std::vector<std::int32_t>& more) {
        tokens.insert(tokens.end(), more.begin(), more.end());
    };
    std::size_t done = 0;
    for (std::size_t i = 0; i < prompt.answers.size() && i < turns.size(); ++i) {
        const auto& answer = prompt.answers[i];
        bool verbatim = turns[i] && !turns[i]->tokens.empty() && turns[i]->reasoned == answer.reasoned;
        if (!verbatim || answer.end > end) continue;
        append(tokenizer.encode_parts(std::span(prompt.parts).subspan(done, answer.begin - done)));
        append(turns[i]->tokens);
        done = answer.end;
    }
    append(tokenizer.encode_parts(std::span(prompt.parts).subspan(done, end - done)));
    return tokens;
}

PreparedPrompt prepare_raw(const Request& request, const Tokenizer& tokenizer) {
    PreparedPrompt prepared;
    prepared.tokens = request.tokens;
    for (auto token : request.tokens)
        if (token < 0 || token >= tokenizer.size())
            throw ApiError(
                400, "invalid_request",
                fmt::format("prompt: token {} is not in the vocabulary of {}", token, tokenizer.size()),
                "prompt");
    if (request.tokens.empty()) {
        prepared.tokens = tokenizer.encode_parts(request.text);
        prepared.tokens.insert(prepared.tokens.begin(), tokenizer.bos());
        prepared.hidden = 1;
    }
    return prepared;
}

PreparedPrompt prepare_conversation(Request& request, const Tokenizer& tokenizer, ToolMemory& memory) {
    complete_conversation(request);
    auto turns = memory.reattach(request.tenant, request.conversation);
    auto prompt = encode_conversation(request);
    PreparedPrompt prepared;
    prepared.tokens = encode_with(tokenizer, prompt, turns, prompt.parts.size());
    if (prompt.last_answer_header < prompt.parts.size())
        prepared.header = encode_with(tokenizer, prompt, turns, prompt.last_answer_header).size();
    if (prompt.continuation == Continuation::nothing)
        throw ApiError(400, "invalid_request", "messages: no message asks for an answer", "messages");
    prepared.in_reasoning = prompt.continuation == Continuation::reasoning;
    return prepared;
}

}  // namespace

void complete_conversation(Request& request) {
    apply_policy(request.conversation);
    auto& format = request.conversation.response_format;
    if (request.json_object && format.is_null()) format = {{"type", "object"}};
}

Prompt encode_conversation(const Request& request) {
    try {
        return encode_prompt(request.conversation, request.chat);
    } catch (const Error& e) {
        throw ApiError(400, "invalid_request", e.what(), "messages");
    }
}

PreparedPrompt prepare_prompt(Request& request, const Tokenizer& tokenizer, ToolMemory& memory) {
    auto prepared =
        request.raw ? prepare_raw(request, tokenizer) : prepare_conversation(request, tokenizer, memory);
    if (request.sized) request.sized(static_cast<std::int64_t>(prepared.tokens.size()));
    return prepared;
}

void check_tool_choice(const Request& request) {
    auto refuse = [](const std::string& problem) {
        throw ApiError(400, "invalid_request", "tool_choice: " + problem, "tool_choice");
    };
    if (request.tool_choice == ToolChoice::required && !any_tools(request.conversation))
        refuse("a call is required, but no tools are given");
    if (request.tool_choice == ToolChoice::named && !has_tool(request.conversation, request.named_tool))
        refuse("the named tool is not among the tools");
}

void apply_tool_choice(Request& request, const PreparedPrompt& prompt, const Tokenizer& tokenizer) {
    if (request.raw) return;
    check_tool_choice(request);
    auto& generation = request.generation;
    if (request.tool_choice == ToolChoice::none || !any_tools(request.conversation)) {
        if (auto dsml = tokenizer.find("｜DSML｜"))
            generation.sampling.logit_bias.emplace_back(*dsml, -std::numeric_limits<float>::infinity());
        return;
    }
    if (request.tool_choice == ToolChoice::automatic) return;
    const TextPart start{std::string(kCallsStart) + std::string(kInvokeStart), SpecialTokens::parse},
        tool{request.named_tool, SpecialTokens::literal},
        end{std::string(kInvokeNameEnd), SpecialTokens::parse};
    const std::vector<TextPart> parts =
        request.tool_choice == ToolChoice::named ? std::vector{start, tool, end} : std::vector{start};
    generation.forced = tokenizer.encode_parts(parts);
    if (*prompt.in_reasoning) generation.forced_after = tokenizer.find(kThinkEnd);
}

void limit_reasoning(Request& request, const PreparedPrompt& prompt, const Tokenizer& tokenizer) {
    if (prompt.in_reasoning.value_or(false)) request.generation.reasoning_end = tokenizer.find(kThinkEnd);
}

ApiError context_exceeded(std::int64_t prompt_tokens, std::int64_t max_tokens, std::int64_t context) {
    ApiError error(
        400, "context_length_exceeded",
        fmt::format("This model's maximum context length is {} tokens. However, your messages resulted in "
                    "{} tokens. Please reduce the length of the messages.",
                    context, prompt_tokens),
        "messages");
    error.prompt_tokens = prompt_tokens;
    error.max_tokens = max_tokens;
    error.context = context;
    return error;
}

}  // namespace cachalot::server
