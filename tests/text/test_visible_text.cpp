#include "text/visible_text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

#include "text/utf8.h"

namespace cachalot {
namespace {

using namespace std::string_literals;

TEST(VisibleText, ShowsWhatATerminalWouldObey) {
    EXPECT_EQ(visible_text("\033]0;title\007"), "\\u001b]0;title\\u0007");
    EXPECT_EQ(visible_text("\033[2J"), "\\u001b[2J");
    EXPECT_EQ(visible_text("a\rb\bc\x7f"), "a\\u000db\\u0008c\\u007f");
    EXPECT_EQ(visible_text("nul\0."s), "nul\\u0000.");
    EXPECT_EQ(visible_text("\u009b31m \u0080 \u009f"), "\\u009b31m \\u0080 \\u009f");
    EXPECT_EQ(visible_text("\x9b"
                           "31m \xff\xc3"),
              "\\x9b31m \\xff\\xc3");
    EXPECT_EQ(visible_text("x\u202egpj\u202c \u2066y\u2069"), "x\\u202egpj\\u202c \\u2066y\\u2069");
}

TEST(VisibleText, LeavesTextAlone) {
    for (const char* text :
         {"", "plain", "two\nlines\tand a tab", "Grüße 日本 😀", "\u00a0\u200f\u05d0 e\u0301", "\\u001b"})
        EXPECT_EQ(visible_text(text), text);
    EXPECT_EQ(visible_line("a\nb\tc\n"), "a\\u000ab\\u0009c\\u000a");
}

// Whatever comes in: nothing is left that a terminal obeys, and nothing else is touched.
RC_GTEST_PROP(VisibleText, NeverPassesAControl, (const std::string& bytes)) {
    const auto shown = visible_text(bytes);
    RC_ASSERT(is_valid_utf8(shown));
    RC_ASSERT(visible_text(shown) == shown);
    for (unsigned char c : shown) RC_ASSERT(c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f));
}

RC_GTEST_PROP(VisibleText, JsonStaysTheSameJson, (const std::vector<std::uint16_t>& characters)) {
    std::string text;
    for (auto c : characters) append_utf8(text, c);
    const auto written = nlohmann::json({{"text", text}}).dump();
    RC_ASSERT(nlohmann::json::parse(visible_text(written)) == nlohmann::json::parse(written));
}

}  // namespace
}  // namespace cachalot
