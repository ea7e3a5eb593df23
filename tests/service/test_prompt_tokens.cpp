// Prompts as tokens: the pieces that are encoded one by one are the whole.
#include "text/prompt_tokens.h"

#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "support/nano.h"

namespace cachalot {
namespace {

const Tokenizer& tokenizer() {
    static const auto model = test::nano();
    return model->tokenizer;
}

std::string words() {
    std::string text;
    for (const auto& piece : *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
             "a", " the", "\n", "<｜User｜>", "</think>", "é", "<", "12", "\n\n", "  ", "<｜DSML｜invoke")))
        text += piece;
    return text;
}

// Questions, answers and results in any order, as clients that follow no rules send them.
Prompt any_prompt() {
    Conversation conversation;
    const int count = *rc::gen::inRange(1, 7);
    for (int i = 0; i < count; ++i) {
        Message message =
            text_message(*rc::gen::element(Role::system, Role::user, Role::assistant, Role::tool), words());
        if (message.role == Role::assistant) {
            message.reasoning = words();
            if (*rc::gen::arbitrary<bool>()) message.tool_calls = {{"c", "f", R"({"a": "b"})"}};
            message.without_eos = i + 1 == count && *rc::gen::arbitrary<bool>();
        }
        conversation.messages.push_back(std::move(message));
    }
    return encode_prompt(conversation, {.thinking = *rc::gen::arbitrary<bool>()});
}

RC_GTEST_PROP(PromptTokensProperties, AreThoseOfTheWholeWithTheHeaderWhereItBegins, ()) {
    const Prompt prompt = any_prompt();
    const auto whole = tokenizer().encode_parts(prompt.parts);
    const auto found = tokenize_prompt(prompt, tokenizer());
    RC_ASSERT(found.has_value());
    RC_ASSERT(found->tokens == whole);
    const bool answered = prompt.last_answer_header < prompt.parts.size();
    const auto before = std::span(prompt.parts).first(prompt.last_answer_header);
    RC_ASSERT(found->header == (answered ? tokenizer().encode_parts(before).size() : 0));

    RC_ASSERT(tokenize_prompt(prompt, tokenizer(), {}, whole.size())->tokens == whole);
    RC_ASSERT(!tokenize_prompt(prompt, tokenizer(), {}, whole.size() - 1));
}

RC_GTEST_PROP(PromptTokensProperties, AnswersMayBeOthers, ()) {
    const Prompt prompt = any_prompt();
    // What stands in the place of an answer is taken as it is, whatever it is; everything else stays.
    const std::vector<std::int32_t> marks = {7, 8, 9};
    std::vector<std::span<const std::int32_t>> verbatim;
    std::vector<std::int32_t> expected;
    std::size_t done = 0, header = 0;
    const auto encode_to = [&](std::size_t end) {
        const auto more = tokenizer().encode_parts(std::span(prompt.parts).subspan(done, end - done));
        expected.insert(expected.end(), more.begin(), more.end());
        done = end;
    };
    const auto pass_header = [&](std::size_t next) {
        if (header > 0 || prompt.last_answer_header > next ||
            prompt.last_answer_header == prompt.parts.size())
            return;
        encode_to(prompt.last_answer_header);
        header = expected.size();
    };
    for (const auto& answer : prompt.answers) {
        const bool replaced = *rc::gen::arbitrary<bool>();
        verbatim.push_back(replaced ? std::span<const std::int32_t>(marks) : std::span<const std::int32_t>());
        if (!replaced) continue;
        pass_header(answer.begin);
        encode_to(answer.begin);
        expected.insert(expected.end(), marks.begin(), marks.end());
        done = answer.end;
    }
    pass_header(prompt.parts.size());
    encode_to(prompt.parts.size());
    const auto found = tokenize_prompt(prompt, tokenizer(), verbatim);
    RC_ASSERT(found.has_value());
    RC_ASSERT(found->tokens == expected);
    RC_ASSERT(found->header == header);
    RC_ASSERT(!tokenize_prompt(prompt, tokenizer(), verbatim, expected.size() - 1));
}

}  // namespace
}  // namespace cachalot
