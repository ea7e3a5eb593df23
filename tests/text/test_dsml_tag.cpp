#include "text/dsml_tag.h"

#include <gtest/gtest.h>

namespace cachalot {
namespace {

using State = DsmlMatch::State;

TEST(DsmlTag, SpellingsOfEveryTag) {
    struct Case {
        const char* text;
        DsmlKind kind;
        const char* name;
        std::optional<bool> is_string;
    };
    const Case cases[] = {
        {"<｜DSML｜tool_calls>", DsmlKind::calls_start, "", {}},
        {"<｜DSML｜ calls>", DsmlKind::calls_start, "", {}},
        {"<|DSML|function_calls>", DsmlKind::calls_start, "", {}},
        {"</｜DSML｜tool_calls>", DsmlKind::calls_end, "", {}},
        {"</｜DSML| calls >", DsmlKind::calls_end, "", {}},
        {"<｜DSML｜invoke name=\"f\">", DsmlKind::invoke_start, "f", {}},
        {"<｜｜DSML｜｜invoke name=\"f\">", DsmlKind::invoke_start, "f", {}},
        {"<||DSML|| invoke\n name = 'a b' >", DsmlKind::invoke_start, "a b", {}},
        {"<|DSML|invoke name=f>", DsmlKind::invoke_start, "f", {}},
        {"</｜DSML｜invoke>", DsmlKind::invoke_end, "", {}},
        {"<｜DSML｜parameter name=\"k>\" string=\"true\">", DsmlKind::parameter_start, "k>", true},
        {"<｜DSML｜ parameter name=\"k\" string=\"false\">", DsmlKind::parameter_start, "k", false},
        {"<｜DSML｜parameter string=true name=k>", DsmlKind::parameter_start, "k", true},
        {"<｜DSML｜parameter name=\"k\">", DsmlKind::parameter_start, "k", {}},
        {"<｜DSML｜parameter name=\"k\" string=\"maybe\" type=\"x\">", DsmlKind::parameter_start, "k", {}},
        {"</｜DSML｜parameter>", DsmlKind::parameter_end, "", {}},
    };
    for (const Case& expected : cases) {
        const std::string text = expected.text;
        const DsmlMatch match = match_dsml_tag(text + "rest");
        ASSERT_EQ(match.state, State::tag) << text;
        EXPECT_EQ(match.length, text.size()) << text;
        EXPECT_EQ(match.tag.kind, expected.kind) << text;
        EXPECT_EQ(match.tag.name, expected.name) << text;
        EXPECT_EQ(match.tag.is_string, expected.is_string) << text;
        for (std::size_t length = 1; length < text.size(); length++)
            EXPECT_EQ(match_dsml_tag(text.substr(0, length)).state, State::partial) << text.substr(0, length);
    }
}

TEST(DsmlTag, MisspeltTags) {
    struct Case {
        const char* text;
        DsmlKind kind;
        const char* name;
        std::size_t length;  // 0: all
    };
    const Case cases[] = {
        {"<｜DSML｜toolcalls>", DsmlKind::calls_start, "", 0},
        {"<｜DSML｜tool_call>", DsmlKind::calls_start, "", 0},
        {"</｜DSML｜Tool-Calls>", DsmlKind::calls_end, "", 0},
        {"<｜DSML｜tool_clals>", DsmlKind::calls_start, "", 0},
        {"<｜DSML｜function_call name=\"f\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invokes name=\"f\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke tool=\"f\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke f>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke=\"f\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke functions.f>", DsmlKind::invoke_start, "functions.f", 0},
        {"<｜DSML｜invoke \"f\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke 'f' >", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke(\"f\")>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke(name=\"f\")>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke(f)>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name=\"f\";>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name=\"f\",>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name=\"f\", >", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML|invoke name=\"f\"|>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name=\"f\"｜>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name=\\\"f\\\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name=“f”>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name=‘f’>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name='f\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name=\"f'>", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name='say \"f\"'>", DsmlKind::invoke_start, "say \"f\"", 0},
        {"<｜DSML｜parameter name=\"k\", string=\"true\">", DsmlKind::parameter_start, "k", 0},
        {"<｜DSML｜parameter name=\"k\" string=\"true\"ls -l", DsmlKind::parameter_start, "k", 43},
        {"<｜DSML｜invoke name=\"f>\n", DsmlKind::invoke_start, "f", 26},
        {"<｜DSML｜invoke name=f\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜invoke name=\"f\"\n{", DsmlKind::invoke_start, "f", 26},
        {"<｜DSML｜invoke name=\"f\"<", DsmlKind::invoke_start, "f", 26},
        {"<｜DSML｜invoke>", DsmlKind::calls_start, "", 0},
        {"<｜DSML｜/invoke>", DsmlKind::invoke_end, "", 0},
        {"｜DSML｜invoke name=\"f\">", DsmlKind::invoke_start, "f", 0},
        {"<DSML｜invoke name=\"f\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML invoke name=\"f\">", DsmlKind::invoke_start, "f", 0},
        {"<|dsml|invoke name=\"f\">", DsmlKind::invoke_start, "f", 0},
        {"<｜DSML｜paramter name=\"k\">", DsmlKind::parameter_start, "k", 0},
        {"</｜DSML｜args>", DsmlKind::parameter_end, "", 0},
        {"<｜DSML｜city>", DsmlKind::other_start, "", 0},
        {"</｜DSML｜city>", DsmlKind::other_end, "", 0},
        {"<｜DSML｜>", DsmlKind::other_start, "", 0},
        {"<｜DSML｜ is a token", DsmlKind::other_start, "", 11},
        {"<｜DSML｜ tools are named", DsmlKind::other_start, "", 11},
    };
    for (const Case& expected : cases) {
        const DsmlMatch match = match_dsml_tag(std::string(expected.text) + " rest");
        ASSERT_EQ(match.state, State::tag) << expected.text;
        EXPECT_EQ(match.length, expected.length > 0 ? expected.length : std::string(expected.text).size())
            << expected.text;
        EXPECT_EQ(match.tag.kind, expected.kind) << expected.text;
        EXPECT_EQ(match.tag.name, expected.name) << expected.text;
        // What more text does not change is not said before it is certain.
        const std::string text = std::string(expected.text) + " rest";
        for (std::size_t length = 1; length < text.size(); length++) {
            const DsmlMatch early = match_dsml_tag(text.substr(0, length));
            if (early.state == State::partial) continue;
            EXPECT_EQ(early.state, State::tag) << text.substr(0, length);
            EXPECT_EQ(early.length, match.length) << text.substr(0, length);
            EXPECT_EQ(early.tag.name, match.tag.name) << text.substr(0, length);
        }
    }
    const DsmlTag closed = match_dsml_tag("<｜DSML｜invoke name=\"f\" a=\"1\" b='2'/>").tag;
    EXPECT_TRUE(closed.closed);
    EXPECT_EQ(closed.attributes, (std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2"}}));
}

TEST(DsmlTag, OtherTextIsNone) {
    for (const char* text : {"x", "<think>", "<invoke name=\"f\">", "<｜User｜>", "<DSML invoke>",
                             "<｜｜｜DSML｜invoke", "< ｜DSML｜invoke", "｜DSM｜", "<Dx"})
        EXPECT_EQ(match_dsml_tag(text).state, State::none) << text;
    for (const char* text : {"x", "<tool_call>", "<invokes name=\"f\">", "<parameter name=\"f\"\nx y",
                             "< invoke name=\"f\">", "</b>", "<invoke name=\"f\"<"})
        EXPECT_EQ(match_plain_tag(text).state, State::none) << text;
    EXPECT_EQ(match_plain_tag("<invoke name=\"f\">x").tag.name, "f");
    EXPECT_EQ(match_plain_tag("</parameter>").tag.kind, DsmlKind::parameter_end);
    EXPECT_EQ(match_plain_tag("<param").state, State::partial);
}

TEST(DsmlTag, SaysWhenThePrefixCanHardlyBeAnythingElse) {
    EXPECT_FALSE(match_dsml_tag("<").sentinel);
    EXPECT_FALSE(match_dsml_tag("</|").sentinel);
    EXPECT_TRUE(match_dsml_tag("<｜").sentinel);
    EXPECT_TRUE(match_dsml_tag("<｜DSML｜").sentinel);
    EXPECT_TRUE(match_dsml_tag("</|DSML|").sentinel);
    EXPECT_TRUE(match_dsml_tag("<｜DSML｜invoke name=\"f").sentinel);
}

TEST(DsmlTag, LengthIsLimited) {
    const std::string start = "<|DSML|invoke name=\"", end = "\">";
    const std::string longest(kMaxDsmlTag - start.size() - end.size(), 'x');
    EXPECT_EQ(match_dsml_tag(start + longest + end).state, State::tag);
    EXPECT_EQ(match_dsml_tag(start + longest + "\"").state, State::partial);
    for (const std::string& longer : {start + longest + "x" + end, start + longest + "xx"})
        EXPECT_EQ(match_dsml_tag(longer).length, std::string("<|DSML|").size())
            << longer;  // the sentinel alone
}

}  // namespace
}  // namespace cachalot
