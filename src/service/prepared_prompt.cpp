#include "service/prepared_prompt.h"

#include <algorithm>

#include "engine/call_rules.h"
#include "service/conversation_policy.h"
#include "text/prompt_protocol.h"

namespace cachalot::server {
namespace {

bool has_tool(const Conversation& conversation, const std::string& name) {
    auto named = [&](const nlohmann::ordered_json& tool) { return tool.value("name", "") == name; };
    auto among = [&](const auto& tools) { return std::any_of(tools.begin(), tools.end(), named); };
    return among(conversation.tools) ||
           std::any_of(conversation.messages.begin(), conversation.messages.end(),
                       [&](const Message& m) { return among(m.tools); });
}

// Adds up tokens; too many for `most` are an error at once.
class TokenList {
  public:
    TokenList(const Tokenizer& tokenizer, const Request& request, std::int64_t most)
        : tokenizer_(tokenizer), request_(request), most_(most) {}

    void append(std::span<const std::int32_t> more) {
        if (more.size() > left()) refuse();
        tokens_.insert(tokens_.end(), more.begin(), more.end());
    }
    void append(std::span<const TextPart> parts) {
        const auto more = tokenizer_.encode_at_most(left(), parts);
        if (!more) refuse();
        append(*more);
    }
    std::size_t size() const { return tokens_.size(); }
    std::vector<std::int32_t> take() { return std::move(tokens_); }

  private:
    std::size_t left() const { return static_cast<std::size_t>(most_) - tokens_.size(); }
    [[noreturn]] void refuse() const {
        throw context_exceeded(std::nullopt, request_.generation.max_tokens, most_);
    }

    const Tokenizer& tokenizer_;
    const Request& request_;
    const std::int64_t most_;
    std::vector<std::int32_t> tokens_;
};

// Encodes the parts [begin, end), with the tokens of remembered answers in their places. Every border is next to a
// special token, so the pieces may be tokenised each on its own.
void append_parts(TokenList& tokens, const Prompt& prompt, const std::vector<ToolMemory::Turn>& turns,
                  std::size_t begin, std::size_t end) {
    const std::span<const TextPart> parts(prompt.parts);
    for (std::size_t i = 0; i < prompt.answers.size() && i < turns.size(); ++i) {
        const auto& answer = prompt.answers[i];
        bool verbatim = turns[i] && !turns[i]->tokens.empty() && turns[i]->reasoned == answer.reasoned;
        if (!verbatim || answer.begin < begin || answer.end > end) continue;
        tokens.append(parts.subspan(begin, answer.begin - begin));
        tokens.append(std::span<const std::int32_t>(turns[i]->tokens));
        begin = answer.end;
    }
    tokens.append(parts.subspan(begin, end - begin));
}

PreparedPrompt prepare_raw(const Request& request, const Tokenizer& tokenizer, std::int64_t most) {
    PreparedPrompt prepared;
    TokenList tokens(tokenizer, request, most);
    for (auto token : request.tokens)
        if (token < 0 || token >= tokenizer.size())
            throw ApiError(
                400, "invalid_request",
                fmt::format("prompt: token {} is not in the vocabulary of {}", token, tokenizer.size()),
                "prompt");
    if (request.tokens.empty()) {
        const std::int32_t bos = tokenizer.bos();
        tokens.append(std::span(&bos, 1));
        tokens.append(std::span<const TextPart>(request.text));
        prepared.hidden = 1;
    } else {
        tokens.append(std::span<const std::int32_t>(request.tokens));
    }
    prepared.tokens = tokens.take();
    return prepared;
}

PreparedPrompt prepare_conversation(Request& request, const Tokenizer& tokenizer, ToolMemory& memory,
                                    std::int64_t most) {
    complete_conversation(request);
    auto turns = memory.reattach(request.tenant, request.conversation);
    auto prompt = encode_conversation(request);
    PreparedPrompt prepared;
    TokenList tokens(tokenizer, request, most);
    const std::size_t header = prompt.last_answer_header;
    append_parts(tokens, prompt, turns, 0, header);
    if (header < prompt.parts.size()) prepared.header = tokens.size();
    append_parts(tokens, prompt, turns, header, prompt.parts.size());
    prepared.tokens = tokens.take();
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
    restrict_calls(generation, *offered_tools(request.conversation, callable), tokenizer);
    if (!callable || request.tool_choice == ToolChoice::automatic) return;
    const TextPart start{std::string(kCallsStart) + std::string(kInvokeStart), SpecialTokens::parse},
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
