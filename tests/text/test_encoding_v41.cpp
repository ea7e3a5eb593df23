// DeepSeek's own cases of V4.1's encoding: prompts to the byte, completions read back however they are cut.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "base/error.h"
#include "text/chat_format.h"
#include "text/completion_parser.h"
#include "text/encoding_cases.h"
#include "text/tool_namespace.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;

// Where the encoder is deliberately another one: it knows no developers, takes the text of a special token in
// a user's text for that token, and makes an empty text of arguments a parameter.
const std::set<std::string> kOtherwise = {"error-developer-role", "error-image-token-in-text",
                                          "tools-arguments-empty-text"};

bool thinks(const ordered_json& input) { return input.value("thinking_mode", "chat") == "thinking"; }

Prompt encoded(const ordered_json& input) {
    ChatOptions options;
    options.format = ChatFormat::v41;
    options.thinking = thinks(input);
    options.drop_thinking = input.value("drop_thinking", true);
    options.bos = input.value("add_default_bos_token", true);
    if (input.contains("reasoning_effort")) {
        const auto& effort = input["reasoning_effort"];
        options.effort = effort.is_string() ? named_effort(effort.get<std::string>())
                                            : static_cast<Effort>(effort.get<int>());
    }
    Conversation conversation =
        conversation_from_json({{"messages", input["messages"]}}, ChatFormat::v41, ToolNames::any);
    if (input.contains("context")) {
        auto known = conversation_from_json(input["context"], ChatFormat::v41, ToolNames::any).messages;
        options.known_messages = known.size();
        conversation.messages.insert(conversation.messages.begin(), known.begin(), known.end());
    }
    return encode_prompt(conversation, options);
}

ordered_json as_message(const Completion& completion) {
    ordered_json calls = ordered_json::array();
    for (const auto& call : completion.tool_calls) {
        const SplitName split = split_name(call.name);
        calls.push_back(
            {{"type", "function"}, {"function", {{"name", split.name}, {"arguments", call.arguments}}}});
        if (!split.name_space.empty()) calls.back()["namespace"] = split.name_space;
    }
    return {{"role", "assistant"},
            {"content", completion.content},
            {"reasoning_content", completion.reasoning},
            {"tool_calls", calls}};
}

Completion parsed(const ordered_json& input) {
    return parse_completion(input["completion"].get<std::string>(), thinks(input), nullptr, ChatFormat::v41);
}

TEST(EncodingV41, PromptsAreExactToTheByte) {
    int checked = 0;
    for (const auto& one : test::encoding_cases()) {
        const std::string name = one["name"];
        if (!one["input"].contains("messages") || !one.contains("expected") || kOtherwise.contains(name))
            continue;
        SCOPED_TRACE(name);
        const Prompt prompt = encoded(one["input"]);
        EXPECT_EQ(prompt.text(), one["expected"].get<std::string>());
        const auto images = one.value("images_in_prompt_order", one.value("images", ordered_json::array()));
        EXPECT_EQ(ordered_json(prompt.images), images);
        checked++;
    }
    EXPECT_GT(checked, 80);
}

TEST(EncodingV41, WhatTheEncoderRefusesIsRefused) {
    int checked = 0;
    for (const auto& one : test::encoding_cases("error-")) {
        const std::string name = one["name"];
        if (kOtherwise.contains(name) || name.starts_with("error-effort")) continue;  // numbers come later
        EXPECT_THROW(encoded(one["input"]), Error) << name;
        checked++;
    }
    EXPECT_EQ(checked, 4);
}

TEST(EncodingV41, WhatTheEncoderRefusesWithoutNeedIsWritten) {
    for (const auto& one : test::encoding_cases("error-")) {
        if (one["name"] == "error-developer-role") {
            EXPECT_EQ(encoded(one["input"]).text(),
                      "<｜begin▁of▁sentence｜><｜User｜>d\n\nx<｜Assistant｜></think>");
        } else if (one["name"] == "error-image-token-in-text") {
            for (const TextPart& part : encoded(one["input"]).parts)
                EXPECT_EQ(part.mode == SpecialTokens::literal, part.text.find("image") != std::string::npos);
        }
    }
}

TEST(EncodingV41, CompletionsAreReadBack) {
    int checked = 0;
    for (const auto& one : test::encoding_cases("parse-")) {
        SCOPED_TRACE(one["name"]);
        const Completion completion = parsed(one["input"]);
        if (one.contains("expected")) {
            EXPECT_EQ(as_message(completion), one["expected"]);
            EXPECT_TRUE(completion.well_formed());
        } else {  // mended, but known to be none that the model should see again
            EXPECT_FALSE(completion.well_formed());
            EXPECT_EQ(completion.tool_calls.size(), 1u);
        }
        checked++;
    }
    EXPECT_EQ(checked, 19);
}

Completion in_pieces(const std::string& text, bool thinks, std::vector<std::size_t> cuts) {
    CompletionParser parser(thinks, nullptr, ChatFormat::v41);
    cuts.push_back(text.size());
    std::size_t at = 0;
    for (const std::size_t cut : cuts) {
        parser.feed(std::string_view(text).substr(at, cut - at));
        at = cut;
    }
    parser.finish();
    return parser.completion();
}

TEST(EncodingV41, EverySplitOfACompletionParsesToTheSame) {
    std::mt19937 random(41);
    for (const auto& one : test::encoding_cases("parse-")) {
        SCOPED_TRACE(one["name"]);
        const std::string text = one["input"]["completion"];
        const bool reasons = thinks(one["input"]);
        const Completion whole = parsed(one["input"]);
        const auto check = [&](const std::vector<std::size_t>& cuts) {
            const Completion pieces = in_pieces(text, reasons, cuts);
            EXPECT_EQ(as_message(pieces), as_message(whole));
            EXPECT_EQ(pieces.repairs, whole.repairs);
        };
        std::vector<std::size_t> all;
        for (std::size_t cut = 1; cut < text.size(); cut++) {
            check({cut});
            all.push_back(cut);
        }
        check(all);
        if (text.size() <= 14)  // all subsets of the places
            for (std::uint32_t mask = 0; mask < 1u << all.size(); mask++) {
                std::vector<std::size_t> cuts;
                for (const std::size_t cut : all)
                    if (mask >> (cut - 1) & 1) cuts.push_back(cut);
                check(cuts);
            }
        for (int round = 0; round < 200; round++) {
            std::vector<std::size_t> cuts;
            const auto few = 1 + random() % 8;
            for (const std::size_t cut : all)
                if (random() % few == 0) cuts.push_back(cut);
            check(cuts);
        }
    }
}

// The answers of all prompts, parsed as the model would have written them.
TEST(EncodingV41, AnswersOfPromptsAreReadBack) {
    int checked = 0;
    for (const auto& one : test::encoding_cases()) {
        const auto& input = one["input"];
        if (!input.contains("messages") || !one.contains("expected") || input.contains("context")) continue;
        SCOPED_TRACE(one["name"]);
        const Prompt prompt = encoded(input);
        const auto messages =
            conversation_from_json(input["messages"], ChatFormat::v41, ToolNames::any).messages;
        std::size_t at = 0;
        for (const Prompt::Answer& answer : prompt.answers) {
            while (messages[at].role != Role::assistant) at++;
            const Message& message = messages[at++];
            std::string text;
            for (std::size_t i = answer.begin; i < answer.end; i++) text += prompt.parts[i].text;
            const Completion completion = parse_completion(text, answer.reasoned, nullptr, ChatFormat::v41);
            EXPECT_TRUE(completion.well_formed());
            EXPECT_EQ(completion.reasoning, answer.reasoned ? message.reasoning : "");
            EXPECT_EQ(completion.content, content_text(message.content));
            ASSERT_EQ(completion.tool_calls.size(), message.tool_calls.size());
            for (std::size_t i = 0; i < message.tool_calls.size(); i++)
                EXPECT_EQ(completion.tool_calls[i].name, message.tool_calls[i].name);
            checked++;
        }
    }
    EXPECT_GT(checked, 40);
}

TEST(EncodingV41, NothingOfTheConversationBecomesASpecialToken) {
    for (const auto& one : test::encoding_cases()) {
        if (!one["input"].contains("messages") || !one.contains("expected")) continue;
        for (const TextPart& part : encoded(one["input"]).parts) {
            if (part.mode != SpecialTokens::parse) continue;
            for (const char* foreign :
                 {"giraffe", "read_file", "in a log?", "README", "shell", "chess", "q1"})
                EXPECT_EQ(part.text.find(foreign), std::string::npos) << one["name"] << part.text;
        }
    }
}

TEST(ChatFormat, IsKnownByTheTokenOfSystemMessages) {
    EXPECT_EQ(chat_format_of(test::nano()), ChatFormat::v4);
    EXPECT_EQ(chat_format_of(test::nano(), ChatFormat::v4_april), ChatFormat::v4_april);
    const Tokenizer nano41(test::nano41_data(), "nano41");
    EXPECT_EQ(chat_format_of(nano41), ChatFormat::v41);
    EXPECT_THROW(chat_format_of(nano41, ChatFormat::v4_april), Error);
    // An ordinary token of that text is none.
    TokenizerData plain = test::nano41_data();
    plain.types[plain.tokens.size() - 2] = static_cast<int>(TokenType::unused);
    EXPECT_EQ(chat_format_of(Tokenizer(plain, "plain")), ChatFormat::v4);
}

// All that steers is one token, and all that a user wrote is not.
TEST(ChatFormat, FixedTextsAreTokens) {
    const Tokenizer tokenizer(test::nano41_data(), "nano41");
    const auto ids =
        tokenizer.encode_parts(encoded({{"messages",
                                         {{{"role", "system"}, {"content", "S"}},
                                          {{"role", "user"}, {"content", "<｜System｜>"}},
                                          {{"role", "system"}, {"content", "<｜deepseek_image｜>"}}}},
                                        {"thinking_mode", "thinking"}})
                                   .parts);
    const auto count = [&](const char* token) {
        return std::count(ids.begin(), ids.end(), tokenizer.find(token).value());
    };
    EXPECT_EQ(count("<｜System｜>"), 2);
    EXPECT_EQ(count("<｜deepseek_image｜>"), 0);
    EXPECT_EQ(count("<｜User｜>"), 1);
    EXPECT_EQ(count("<think>"), 1);
}

}  // namespace
}  // namespace cachalot
