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

TEST(DsmlTag, OtherTextIsNone) {
    for (const char* text :
         {"x", "<think>", "<invoke name=\"f\">", "<｜User｜>", "<DSML｜invoke>", "<｜DSML invoke>",
          "<｜DSML｜>", "<｜DSML｜unknown>", "<｜DSML｜invokes name=\"f\">", "<｜DSML｜invoke>",
          "<｜DSML｜invoke name=\"\">", "<｜DSML｜invoke name=\"f\n", "<｜DSML｜parameter \"",
          "</｜DSML｜invoke name=\"f\">", "<｜｜｜DSML｜invoke", "<｜DSML｜     invoke", "< ｜DSML｜invoke"})
        EXPECT_EQ(match_dsml_tag(text).state, State::none) << text;
}

TEST(DsmlTag, SaysWhenThePrefixCanHardlyBeAnythingElse) {
    EXPECT_FALSE(match_dsml_tag("<").sentinel);
    EXPECT_FALSE(match_dsml_tag("</｜DSML").sentinel);
    EXPECT_TRUE(match_dsml_tag("<｜DSML｜").sentinel);
    EXPECT_TRUE(match_dsml_tag("</|DSML|").sentinel);
    EXPECT_TRUE(match_dsml_tag("<｜DSML｜invoke name=\"f").sentinel);
}

TEST(DsmlTag, LengthIsLimited) {
    const std::string start = "<|DSML|invoke name=\"", end = "\">";
    const std::string longest(kMaxDsmlTag - start.size() - end.size(), 'x');
    EXPECT_EQ(match_dsml_tag(start + longest + end).state, State::tag);
    EXPECT_EQ(match_dsml_tag(start + longest + "\"").state, State::partial);
    EXPECT_EQ(match_dsml_tag(start + longest + "x" + end).state, State::none);
    EXPECT_EQ(match_dsml_tag(start + longest + "xx").state, State::none);
}

}  // namespace
}  // namespace cachalot
