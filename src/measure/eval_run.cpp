#include "measure/eval_run.h"

#include <fmt/format.h>

namespace cachalot {

EvalOutcome run_eval_item(ChatSession& session, const EvalItem& item, const EvalSettings& settings) {
    EvalOutcome outcome;
    outcome.id = item.id;
    outcome.expected = item.expected;
    Conversation conversation;
    if (!item.tools.empty()) {
        conversation.messages.push_back(text_message(Role::system, "You are a helpful assistant."));
        conversation.tools = item.tools;
    }
    GenerationOptions generation;
    generation.sampling.temperature = 0;
    generation.max_tokens = settings.max_tokens;
    std::vector<Completion> answers;
    for (const auto& turn : item.turns) {
        conversation.messages.push_back(text_message(Role::user, turn));
        const ChatResult result = session.answer(conversation, settings.chat, generation);
        outcome.prompt_tokens += static_cast<std::int64_t>(result.prompt_tokens);
        outcome.answer_tokens += static_cast<std::int64_t>(result.completion_tokens);
        outcome.cut |= result.finish_reason == "length";
        answers.push_back(result.completion);
        outcome.answers.push_back(result.completion.content);
        for (const auto& call : result.completion.tool_calls)
            outcome.answers.back() += fmt::format("{}{}({})", outcome.answers.back().empty() ? "" : "\n",
                                                  call.name, call.arguments);
        conversation.messages.push_back(text_message(Role::assistant, result.completion.content));
        conversation.messages.back().reasoning = result.completion.reasoning;
    }
    outcome.score = item.judge(answers);
    return outcome;
}

}  // namespace cachalot
