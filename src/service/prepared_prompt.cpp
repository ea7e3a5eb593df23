#include "service/prepared_prompt.h"

#include <algorithm>

#include "engine/call_rules.h"
#include "service/conversation_policy.h"
#include "text/prompt_protocol.h"
#include "text/prompt_tokens.h"

namespace cachalot::server {
namespace {

bool has_tool(const Conversation& conversation, const std::string& name) {
    auto named = [&](const nlohmann::ordered_json& tool) { return tool.value("name", "") == name; };
    auto among = [&](const auto& tools) { return std::any_of(tools.begin(), tools.end(), named); };
    return among(conversation.tools) ||
           std::any_of(conversation.messages.begin(), conversation.messages.end(),
                       [&](const Message& m) { return among(m.tools); });
}

PreparedPrompt prepare_raw(const Request& request, const Tokenizer& tokenizer, std::int64_t most) {
    PreparedPrompt prepared;
    const auto refuse = [&] { throw context_exceeded(std::nullopt, request.generation.max_tokens, most); };
    for (auto token : request.tokens)
        if (token < 0 || token >= tokenizer.size())
            throw ApiError(
                400, "invalid_request",
                fmt::format("prompt: token {} is not in the vocabulary of {}", token, tokenizer.size()),
                "prompt");
    if (!request.tokens.empty()) {
        prepared.tokens = request.tokens;
    } else {
        auto text = tokenizer.encode_at_most(static_cast<std::size_t>(most), request.text);
        if (!text) refuse();
        prepared.tokens = std::move(*text);
        prepared.tokens.insert(prepared.tokens.begin(), tokenizer.bos());
        prepared.hidden = 1;
    }
    if (prepared.tokens.size() > static_cast<std::size_t>(most)) refuse();
    return prepared;
}

// For each answer, its remembered tokens if the prompt shows it as it was written, else none.
std::vector<std::span<const std::int32_t>> tokens_of(const std::vector<ToolMemory::Turn>& turns,
                                                     const Prompt& prompt) {
    std::vector<std::span<const std::int32_t>> tokens(std::min(turns.size(), prompt.answers.size()));
    for (std::size_t i = 0; i < tokens.size(); ++i)
        if (turns[i] && turns[i]->reasoned == prompt.answers[i].reasoned) tokens[i] = turns[i]->tokens;
    return tokens;
}

// V4 is told that there is something it cannot read. V4.1 would be shown the place of an image, and nothing
// at all of other parts unless a user sent them.
void refuse_unreadable(const Conversation& conversation) {
    for (const Message& message : conversation.messages)
        for (const ContentPart& part : message.content) {
            const bool image = part.type.find("image") != std::string::npos;
            if (part.type == "text" || (!image && message.role == Role::user)) continue;
            throw ApiError(400, "invalid_request",
                           image ? "messages: images are not supported yet; leave them out, or say in words "
                                   "what they show"
                                 : fmt::format("messages: the model cannot be shown a part of the type '{}'; "
                                               "leave it out",
                                               part.type.substr(0, 40)),
                           "messages");
        }
}

PreparedPrompt prepare_conversation(Request& request, const Tokenizer& tokenizer, ToolMemory& memory,
                                    std::int64_t most) {
    complete_conversation(request);
    const auto turns = memory.reattach(request.tenant, request.conversation);
    const auto prompt = encode_conversation(request);
    auto tokens =
        tokenize_prompt(prompt, tokenizer, tokens_of(turns, prompt), static_cast<std::size_t>(most));
    if (!tokens) throw context_exceeded(std::nullopt, request.generation.max_tokens, most);
    if (prompt.continuation == Continuation::nothing)
        throw ApiError(400, "invalid_request", "messages: no message asks for an answer", "messages");
    return {std::move(tokens->tokens), tokens->header, 0, prompt.continuation == Continuation::reasoning};
}

}  // namespace

void complete_conversation(Request& request) {
    const bool v41 = request.chat.format == ChatFormat::v41;
    if (v41) refuse_unreadable(request.conversation);
    apply_policy(request.conversation, request.chat.format);
    for (Message& message : request.conversation.messages)  // asks for nothing
        if (message.response_format == nlohmann::ordered_json{{"type", "text"}})
            message.response_format = nullptr;
    auto& format = request.conversation.response_format;
    if (request.json_object && format.is_null()) format = {{"type", v41 ? "json_object" : "object"}};
}

Prompt encode_conversation(const Request& request) {
    try {
        if (request.tool_choice != ToolChoice::none) return encode_prompt(request.conversation, request.chat);
        // A model that is told of tools wants to call them, and writes fragments of calls where it cannot.
        Conversation untold = request.conversation;
        untold.tools = {};
        for (Message& message : untold.messages) message.tools = {};
        return encode_prompt(untold, request.chat);
    } catch (const Error& e) {
        throw ApiError(400, "invalid_request", e.what(), "messages");
    }
}

PreparedPrompt prepare_prompt(Request& request, const Tokenizer& tokenizer, ToolMemory& memory,
                              std::int64_t most) {
    auto prepared = request.raw ? prepare_raw(request, tokenizer, most)
                                : prepare_conversation(request, tokenizer, memory, most);
    if (request.sized) request.sized(static_cast<std::int64_t>(prepared.tokens.size()));
    return prepared;
}

void check_tool_choice(const Request& request) {
    auto refuse = [](const std::string& problem) {
        throw ApiError(400, "invalid_request", "tool_choice: " + problem, "tool_choice");
    };
    if (request.tool_choice == ToolChoice::required && !offers_tools(request.conversation))
        refuse("a call is required, but no tools are given");
    if (request.tool_choice == ToolChoice::named && !has_tool(request.conversation, request.named_tool))
        refuse("the named tool is not among the tools");
}

void apply_tool_choice(Request& request, const PreparedPrompt& prompt, const Tokenizer& tokenizer) {
    if (request.raw) return;
    check_tool_choice(request);
    auto& generation = request.generation;
    if (*prompt.in_reasoning) generation.reasoning_end = tokenizer.find(kThinkEnd);
    const bool callable = request.tool_choice != ToolChoice::none && offers_tools(request.conversation);
    restrict_calls(generation, *offered_tools(request.conversation, callable), tokenizer,
                   request.chat.format);
    if (!callable || request.tool_choice == ToolChoice::automatic) return;
    const ChatProtocol& protocol = protocol_of(request.chat.format);
    const TextPart start{protocol.calls_start + protocol.invoke_start, SpecialTokens::parse},
        tool{request.named_tool, SpecialTokens::literal},
        end{std::string(kInvokeNameEnd), SpecialTokens::parse};
    const std::vector<TextPart> parts =
        request.tool_choice == ToolChoice::named ? std::vector{start, tool, end} : std::vector{start};
    generation.forced = tokenizer.encode_parts(parts);
}

ApiError context_exceeded(std::optional<std::int64_t> prompt_tokens, std::int64_t max_tokens,
                          std::int64_t context) {
    const std::string found =
        prompt_tokens ? fmt::to_string(*prompt_tokens) : fmt::format("more than {}", context);
    ApiError error(
        400, "context_length_exceeded",
        fmt::format("This model's maximum context length is {} tokens. However, your messages resulted in "
                    "{} tokens. Please reduce the length of the messages.",
                    context, found),
        "messages");
    error.prompt_tokens = prompt_tokens.value_or(context + 1);
    error.uncounted = !prompt_tokens;
    error.max_tokens = max_tokens;
    error.context = context;
    return error;
}

}  // namespace cachalot::server
