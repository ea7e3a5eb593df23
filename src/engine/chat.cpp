#include "engine/chat.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

ChatResult ChatSession::answer(const Conversation& conversation, const ChatOptions& chat,
                               GenerationOptions options, const ChatCallbacks& callbacks) {
    Prompt prompt = encode_prompt(conversation, chat);
    if (prompt.continuation == Continuation::nothing)
        fail("the conversation ends with a finished answer: add a user message");
    const Tokenizer& tokenizer = engine_.model().tokenizer;
    auto tokens = tokenizer.encode_parts(prompt.parts);
    auto header = tokenizer.encode_parts(std::span(prompt.parts).first(prompt.last_answer_header)).size();

    ChatResult result;
    result.prompt_tokens = tokens.size();
    options.special = GenerationOptions::Special::structure;
    Generation generation(engine_, tokens, std::move(options));
    result.cached_tokens = state_.reuse(tokens);

    // Events of the parser go to the caller, who may want no more.
    CompletionParser parser(prompt.continuation == Continuation::reasoning);
    auto pass_on = [&](const std::vector<CompletionEvent>& events) {
        return std::all_of(events.begin(), events.end(),
                           [&](const auto& e) { return !callbacks.on_event || callbacks.on_event(e); });
    };
    result.timings =
        state_.run(generation, header,
                   {callbacks.on_prefill, [&](const std::string& text) { return pass_on(parser.feed(text)); },
                    callbacks.cancelled});
    pass_on(parser.finish());
    result.completion = parser.completion();
    result.completion_tokens = generation.completion_tokens();
    result.finish_reason = name(generation.reason());
    if (!result.completion.tool_calls.empty() && result.finish_reason == "stop")
        result.finish_reason = "tool_calls";
    return result;
}

}  // namespace cachalot
