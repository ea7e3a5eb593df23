#include "measure/eval_item.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "file/support.h"
#include "measure/eval_run.h"
#include "measure/eval_state.h"
#include "prefix/token_chain.h"
#include "support/nano.h"

namespace cachalot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const EvalFamily& family(const std::string& name) {
    for (const auto& f : eval_families())
        if (f.name == name) return f;
    throw Error("no family " + name);
}

std::vector<EvalItem> items(const std::string& name, std::int64_t count, std::uint64_t seed = 1) {
    EvalOptions options;
    options.seed = seed;
    options.items = count;
    options.lengths = {100, 300};
    return eval_items(family(name), options);
}

Completion says(std::string text) {
    Completion c;
    c.content = std::move(text);
    return c;
}

double score(const EvalItem& item, const std::string& answer) {
    const std::vector<Completion> answers = {says(answer)};
    return item.judge(answers);
}

std::string all_of(const EvalItem& item) {
    std::string text = item.id + item.expected;
    for (const auto& t : item.turns) text += t;
    for (const auto& t : item.tools) text += t.dump();
    return text;
}

TEST(EvalItems, FollowFromSeedFamilyAndNumber) {
    std::string everything;
    for (const auto& f : eval_families()) {
        const auto few = items(f.name, 4), many = items(f.name, 12), other = items(f.name, 12, 2);
        std::set<std::string> different;
        for (std::size_t i = 0; i < few.size(); ++i) EXPECT_EQ(all_of(few[i]), all_of(many[i]));
        for (std::size_t i = 0; i < many.size(); ++i) {
            different.insert(all_of(many[i]));
            different.insert(all_of(other[i]));
            everything += all_of(many[i]);
            EXPECT_EQ(many[i].id, f.name + "-" + std::to_string(i));
        }
        EXPECT_GT(different.size(), 20u) << f.name;
    }
    // Whatever compiles them: outcomes of different programs are compared. Changing items is allowed,
    // unnoticed it is not.
    std::string hash;
    for (const std::byte b : hash128(bytes_of(everything)))
        hash += fmt::format("{:02x}", static_cast<int>(b));
    EXPECT_EQ(hash, "192c4bafdd4f29d73d0e7a7c87f92d46");
    EvalOptions none;
    none.items = 0;
    EXPECT_THROW(eval_items(eval_families()[0], none), Error);
    none = {1, 1, {5}};
    EXPECT_THROW(eval_items(eval_families()[0], none), Error);
}

TEST(EvalItems, NumbersAndWordsAreFound) {
    EXPECT_THAT(numbers_in("12 + 3 = 1,234,567, or 8,90."), ElementsAre("12", "3", "1234567", "8", "90"));
    EXPECT_THAT(numbers_in("1,2345 x7"), ElementsAre("1", "2345", "7"));
    EXPECT_THAT(numbers_in("none"), testing::IsEmpty());
    EXPECT_TRUE(has_word("In the Garden.", "garden"));
    EXPECT_FALSE(has_word("the gardener", "garden"));
    EXPECT_FALSE(has_word("", "garden"));
}

TEST(EvalItems, ArithmeticIsJudgedByTheLastNumber) {
    for (const auto& item : items("arithmetic", 9)) {
        EXPECT_EQ(score(item, item.turns[0] + " That is " + item.expected + "."), 1);
        EXPECT_EQ(score(item, item.expected + " or 98765"), 0) << item.expected;
        EXPECT_EQ(score(item, "I do not know."), 0);
    }
    EXPECT_THAT(items("arithmetic", 1)[0].turns[0], testing::MatchesRegex("What is [2-9] \\+ [2-9]\\?"));
}

TEST(EvalItems, TheNeedleIsWhereItShouldBe) {
    const auto all = items("retrieval", 10);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto& item = all[i];
        const auto at = item.turns[0].find("is " + item.expected + ".");
        ASSERT_NE(at, std::string::npos);
        const double depth = static_cast<double>(at) / static_cast<double>(item.turns[0].size());
        if (i >= 5) {  // the longer texts
            EXPECT_NEAR(depth, 0.25 * static_cast<double>(i % 5), 0.15) << i;
        }
        EXPECT_EQ(numbers_in(item.turns[0]).size(), 4u);
        EXPECT_EQ(score(item, "The code is " + item.expected + "."), 1);
        EXPECT_EQ(score(item, "The code is 12."), 0);
        for (const auto& other : numbers_in(item.turns[0])) {
            if (other == item.expected) continue;
            EXPECT_EQ(score(item, "It is " + other + ", not " + item.expected), 0);
        }
    }
    EXPECT_GT(all[5].turns[0].size(), 2 * all[0].turns[0].size());
}

TEST(EvalItems, JsonIsJudgedByItsValues) {
    for (const auto& item : items("json", 6)) {
        EXPECT_EQ(score(item, item.expected), 1);
        EXPECT_EQ(score(item, "```json\n" + item.expected + "\n```"), 1);
        EXPECT_EQ(score(item, "Here it is: " + item.expected), 0);
        EXPECT_EQ(score(item, item.expected.substr(1)), 0);
        EXPECT_EQ(score(item, std::string(100'000, '[')), 0);
        EXPECT_EQ(score(item, "{\"a\":" + std::string(100'000, '[') + "}"), 0);
        auto wrong = nlohmann::json::parse(item.expected);
        wrong["more"] = 1;
        EXPECT_GT(score(item, wrong.dump()), 0.5);
        EXPECT_LT(score(item, wrong.dump()), 1);
        wrong.clear();
        wrong["other"] = "x";
        EXPECT_EQ(score(item, wrong.dump()), 0);
    }
}

TEST(EvalItems, CallsCountByNameAndArguments) {
    for (const auto& item : items("tools", 24)) {
        // Read the calls off what is expected: "name({...}), name({...})".
        Completion right;
        for (std::size_t at = 0; at < item.expected.size();) {
            const auto open = item.expected.find('(', at), close = item.expected.find("})", open);
            right.tool_calls.push_back(
                {item.expected.substr(at, open - at), item.expected.substr(open + 1, close - open)});
            at = close + 4;
        }
        auto judged = [&](const Completion& c) { return item.judge(std::span(&c, 1)); };
        EXPECT_EQ(judged(right), 1) << item.expected;
        const double share = 1.0 / static_cast<double>(right.tool_calls.size());
        auto c = right;
        std::reverse(c.tool_calls.begin(), c.tool_calls.end());
        EXPECT_EQ(judged(c), 1);
        c.tool_calls[0].arguments = "{}";
        EXPECT_EQ(judged(c), 1 - share / 2);
        c.tool_calls[0].arguments = "no json";
        EXPECT_EQ(judged(c), 1 - share / 2);
        c = right;
        c.tool_calls.push_back({"search", "{}"});
        EXPECT_EQ(judged(c), 1 - share);
        EXPECT_EQ(judged(says("I would call " + item.expected)), 0);
    }
}

TEST(EvalItems, StoriesAreFollowed) {
    for (const auto& item : items("consistency", 10)) {
        ASSERT_EQ(item.turns.size(), 3u);
        // Follows the story itself.
        std::map<std::string, std::string> place;
        std::vector<Completion> answers;
        for (const auto& turn : item.turns) {
            std::string_view text = turn;
            for (auto at = text.find(" went to the "); at != text.npos;
                 at = text.find(" went to the ", at + 1)) {
                const auto before = text.find_last_of(" \n", at - 1);
                const auto begin = before == text.npos ? 0 : before + 1;
                const auto to = at + std::string_view(" went to the ").size();
                place[std::string(text.substr(begin, at - begin))] = text.substr(to, text.find('.', to) - to);
            }
            const auto name = turn.substr(turn.rfind(' ') + 1, turn.size() - turn.rfind(' ') - 2);
            answers.push_back(says(name + " is in the " + place[name] + "."));
        }
        EXPECT_EQ(item.judge(answers), 1) << item.expected;
        answers[1] = says("In the cellar or the attic.");
        EXPECT_DOUBLE_EQ(item.judge(answers), 2. / 3);
    }
}

TEST(EvalRun, NanoCanDoSomeOfIt) {
    Engine engine(test::nano(), {2});
    ChatSession session(engine);
    EvalSettings settings;
    settings.chat.thinking = false;
    settings.max_tokens = 48;
    const auto json = run_eval_item(session, items("json", 1)[0], settings);
    EXPECT_EQ(json.answers.size(), 1u);
    EXPECT_THAT(json.answers[0], HasSubstr("\"name\""));
    EXPECT_GT(json.score, 0);
    EXPECT_FALSE(json.cut);
    const auto tool = run_eval_item(session, items("tools", 2)[1], settings);
    EXPECT_THAT(tool.answers[0], HasSubstr("({")) << tool.expected;
    const auto story = run_eval_item(session, items("consistency", 1)[0], settings);
    EXPECT_EQ(story.answers.size(), 3u);
    EXPECT_GT(story.prompt_tokens, 150);  // of three turns
    EXPECT_GT(story.score, 0);
}

TEST(EvalState, GoesOnAfterAKilledProcess) {
    const TempDir dir;
    const auto path = dir / "state";
    EvalOutcome first{"json-0", 0.5, {"a\n\xff", "b"}, "x", 10, 20, true};
    {
        EvalState state(path, "run", "m.gguf");
        EXPECT_EQ(state.find("json-0"), nullptr);
        state.add(first);
        state.add({"json-1", 1, {}, "", 1, 2, false});
    }
    const auto text = read_file(path);
    write_file(path, text.substr(0, text.size() - 5));  // in the middle of the last line
    {
        EvalState state(path, "run", "m.gguf");
        ASSERT_NE(state.find("json-0"), nullptr);
        EXPECT_EQ(state.find("json-0")->score, 0.5);
        EXPECT_EQ(state.find("json-0")->answers[0], "a\n\xef\xbf\xbd");
        EXPECT_TRUE(state.find("json-0")->cut);
        EXPECT_EQ(state.find("json-1"), nullptr);
        state.add({"json-1", 0.25, {}, "", 1, 2, false});
    }
    EXPECT_EQ(EvalState(path, "run", "m.gguf").find("json-1")->score, 0.25);
    for (const char* torn : {"", "{\"cachalot", "{\"cachalot_eval\":1,\"run\":\"r"}) {
        write_file(path, torn);
        EXPECT_EQ(EvalState(path, "run", "m.gguf").find("json-1"), nullptr) << torn;
    }
    write_file(path, "notes in one line");
    EXPECT_THAT(error_of([&] { EvalState(path, "run", "m.gguf"); }), HasSubstr("not a state of eval"));
    EXPECT_EQ(read_file(path), "notes in one line");
    write_file(path, text);
    EXPECT_THAT(error_of([&] { EvalState(path, "another", "m.gguf"); }), HasSubstr("another run"));
    EXPECT_THAT(error_of([&] { parse_eval_record("", "s"); }), HasSubstr("not a state"));
    EXPECT_THAT(error_of([&] { parse_eval_record("{}\n", "s"); }), HasSubstr("not a state"));
    EXPECT_THAT(error_of([&] { parse_eval_record("{\"cachalot_eval\": 2}\n", "s"); }), HasSubstr("version"));
    const auto header = text.substr(0, text.find('\n') + 1);
    for (const char* line : {"[]", "{\"id\": 3}", "x", "{\"id\": \"a\", \"score\": 7}"})
        EXPECT_THAT(error_of([&] { parse_eval_record(header + line + "\n", "s"); }), HasSubstr("line 2"));
    write_file(path, "{\"cachalot_ev");  // killed at once
    EXPECT_EQ(EvalState(path, "run", "m.gguf").find("json-0"), nullptr);
}

}  // namespace
}  // namespace cachalot
