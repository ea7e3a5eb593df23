// What is remembered of turns that called tools, and when it is put back.
#include "service/tool_memory.h"

#include <gtest/gtest.h>

#include "support/growth.h"

namespace cachalot::server {
namespace {

RememberedTurn turn(const std::string& id, const std::string& reasoning = "because") {
    return {reasoning, "Let me see. ", {{id, "f", R"({"a": 1, "b": [2, 3]})"}}, {1, 2, 3}, true};
}

Conversation sent_back(const std::string& id, const std::string& arguments,
                       const std::string& content = "Let me see.") {
    Conversation conversation;
    conversation.messages.push_back(text_message(Role::user, "?"));
    conversation.messages.push_back(text_message(Role::assistant, content));
    conversation.messages.back().tool_calls.push_back({id, "f", arguments});
    return conversation;
}

TEST(ToolMemory, PutsBackWhatClientsDropAndReformat) {
    ToolMemory memory({});
    memory.remember("t", turn("call_1"));
    for (const char* arguments :
         {R"({"a": 1, "b": [2, 3]})", R"({"b":[2,3],"a":1})", "{ \"a\" : 1, \"b\" : [2,3] }\n"})
        for (const char* content : {"Let me see.", "", "Let me see. \n"}) {
            auto conversation = sent_back("call_1", arguments, content);
            auto turns = memory.reattach("t", conversation);
            ASSERT_EQ(turns.size(), 1u);
            ASSERT_NE(turns[0], nullptr) << arguments << content;
            const auto& message = conversation.messages[1];
            EXPECT_EQ(message.reasoning, "because");
            EXPECT_EQ(content_text(message.content), "Let me see. ");
            EXPECT_EQ(message.tool_calls[0].arguments, R"({"a": 1, "b": [2, 3]})");
        }
}

TEST(ToolMemory, RespectsWhatTheClientChanged) {
    ToolMemory memory({});
    memory.remember("t", turn("call_1"));
    auto conversation = sent_back("call_1", R"({"a": 2})");
    EXPECT_EQ(memory.reattach("t", conversation)[0], nullptr);
    EXPECT_EQ(conversation.messages[1].tool_calls[0].arguments, R"({"a": 2})");
    EXPECT_EQ(conversation.messages[1].reasoning, "because");  // still what led to the call

    conversation = sent_back("call_1", R"({"a": 1, "b": [2, 3]})", "Something else.");
    conversation.messages[1].reasoning = "mine";
    EXPECT_EQ(memory.reattach("t", conversation)[0], nullptr);
    EXPECT_EQ(conversation.messages[1].reasoning, "mine");

    conversation = sent_back("call_1", "not JSON {");
    EXPECT_EQ(memory.reattach("t", conversation)[0], nullptr);
}

TEST(ToolMemory, KeepsTenantsApart) {
    ToolMemory memory({});
    memory.remember("t", turn("call_1"));
    auto conversation = sent_back("call_1", R"({"a": 1, "b": [2, 3]})");
    EXPECT_EQ(memory.reattach("other", conversation)[0], nullptr);
    EXPECT_EQ(conversation.messages[1].reasoning, "");
}

TEST(ToolMemory, ForgetsWhatWasNotUsedForLongest) {
    ToolMemory memory({2, 1 << 20});
    memory.remember("t", turn("call_1"));
    memory.remember("t", turn("call_2"));
    auto first = sent_back("call_1", R"({"a": 1, "b": [2, 3]})");
    EXPECT_NE(memory.reattach("t", first)[0], nullptr);  // used again
    memory.remember("t", turn("call_3"));
    EXPECT_EQ(memory.turns(), 2u);
    auto second = sent_back("call_2", R"({"a": 1, "b": [2, 3]})");
    EXPECT_EQ(memory.reattach("t", second)[0], nullptr);
    first = sent_back("call_1", R"({"a": 1, "b": [2, 3]})");
    EXPECT_NE(memory.reattach("t", first)[0], nullptr);
}

TEST(ToolMemory, KeepsToItsBytes) {
    ToolMemory memory({1000, 10'000});
    memory.remember("t", turn("big", std::string(20'000, 'x')));
    EXPECT_EQ(memory.turns(), 0u);
    for (int i = 0; i < 100; ++i)
        memory.remember("t", turn("call_" + std::to_string(i), std::string(1000, 'x')));
    EXPECT_GT(memory.turns(), 3u);
    EXPECT_LT(memory.turns(), 10u);
}

// A body of n messages must not make n times the reasoning that is remembered.
TEST(ToolMemory, IdsThatAreRepeatedPutATurnBackOnce) {
    ToolMemory memory({});
    memory.remember("t", turn("call_1", std::string(100'000, 'r')));
    for (const char* arguments : {R"({"a": 1, "b": [2, 3]})", R"({"a": 2})"}) {
        auto conversation = sent_back("call_1", arguments);
        for (int i = 0; i < 1'000; ++i) conversation.messages.push_back(conversation.messages[1]);
        const auto turns = memory.reattach("t", conversation);
        ASSERT_EQ(turns.size(), 1'001u);
        std::size_t bytes = 0;
        for (const auto& message : conversation.messages) bytes += message.reasoning.size();
        EXPECT_EQ(bytes, 100'000u);
        EXPECT_EQ(conversation.messages[1].reasoning.size(), 100'000u);
    }
}

TEST(ToolMemory, RepeatedIdsTakeLinearTime) {
    ToolMemory memory({});
    const auto prepare = [&](std::size_t n) {
        std::string list = "0";
        for (std::size_t i = 0; i < n; ++i) list += ", 0";
        const auto id = "call_" + std::to_string(n);
        memory.remember("t", {"why", "", {{id, "f", "{\"a\": [" + list + "]}"}}, {}, true});
        auto conversation = sent_back(id, "{\"a\":[" + list + "]}", "");
        auto again = conversation.messages[1];
        conversation.messages.push_back(again);
        again.tool_calls[0].arguments = "{}";
        for (std::size_t i = 1; i < n; ++i) conversation.messages.push_back(again);
        return conversation;
    };
    EXPECT_LT(cachalot::test::growth(2'000, prepare,
                                     [&](Conversation conversation) { memory.reattach("t", conversation); }),
              cachalot::test::kLinearGrowth);
}

}  // namespace
}  // namespace cachalot::server
