// The text that a custom tool is called with, out of the arguments of its call.
#include "server/api/custom_input.h"

#include "server/tools_test.h"
#include "text/chat_json.h"

namespace cachalot::server::tools_test {
namespace {

TEST(CustomInput, ComesAsItIsWritten) {
    const std::string texts[] = {
        "", "a", "*** Begin Patch\n+\t\"x\\\\y\"\n", "é 中 🐋 \x01", std::string(3, '\\'), "\"}"};
    for (const auto& text : texts)
        for (const std::string& arguments :
             {python_json({{"input", text}}), ordered_json{{"input", text}}.dump(-1, ' ', true)})
            for (std::size_t step :
                 {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7}, arguments.size()}) {
                CustomInput input;
                std::string all;
                for (std::size_t at = 0; at < arguments.size(); at += step)
                    all += input.feed(std::string_view(arguments).substr(at, step));
                EXPECT_EQ(all, text) << arguments << " by " << step;
                EXPECT_EQ(all + input.finish(), text);
                EXPECT_EQ(input.text(), text);
            }
}

TEST(CustomInput, IsTheBestOfWhateverWasWritten) {
    const std::pair<const char*, const char*> cases[] = {
        {R"({"patch": "p"})", "p"},
        {R"({"x": 1, "input": "i"})", "i"},
        {R"({"input": {"a": 1}})", R"({"a": 1})"},
        {R"({"a": "b", "c": "d"})", R"({"a": "b", "c": "d"})"},
        {"not JSON", "not JSON"},
        {R"({"input": "cut of)", "cut of"},
        {R"({"input": "cut \u00)", "cut "},
        {R"( { "input" : "spaced" } )", "spaced"},
        {"{}", ""},
        {"", ""}};
    for (const auto& [arguments, text] : cases) {
        CustomInput input;
        std::string all;
        for (const char c : std::string_view(arguments)) all += input.feed(std::string_view(&c, 1));
        all += input.finish();
        EXPECT_EQ(all, text) << arguments;
    }
}

}  // namespace
}  // namespace cachalot::server::tools_test
