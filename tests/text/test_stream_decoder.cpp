#include "text/stream_decoder.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "text/utf8.h"

namespace cachalot {
namespace {

TEST(StreamDecoder, HoldsBackHalfACharacter) {
    StreamDecoder decoder;
    EXPECT_EQ(decoder.push("a\xF0\x9F"), "a");
    EXPECT_EQ(decoder.push("\x90"), "");
    EXPECT_EQ(decoder.push("\x8B!"), "\U0001F40B!");
    EXPECT_EQ(decoder.flush(), "");
}

TEST(StreamDecoder, ReplacesAsSoonAsItIsCertain) {
    StreamDecoder decoder;
    EXPECT_EQ(decoder.push("\xE4\xBD"), "");
    EXPECT_EQ(decoder.push("x"), "\uFFFDx");
    EXPECT_EQ(decoder.push("\xFF"), "\uFFFD");        // can never begin a character
    EXPECT_EQ(decoder.push("\xED"), "");              // may still become U+D7FF
    EXPECT_EQ(decoder.push("\xA0"), "\uFFFD\uFFFD");  // no: a surrogate
}

TEST(StreamDecoder, FlushGivesUpTheTailAndStartsAnew) {
    StreamDecoder decoder;
    EXPECT_EQ(decoder.push("\xF0\x9F\x90"), "");
    EXPECT_EQ(decoder.flush(), "\uFFFD");
    EXPECT_EQ(decoder.push("\x8B"), "\uFFFD");
    EXPECT_EQ(decoder.flush(), "");
}

RC_GTEST_PROP(StreamDecoder, AnySplitGivesTheRepairedWhole, ()) {
    const auto byte = rc::gen::oneOf(rc::gen::arbitrary<char>(),
                                     rc::gen::element('a', '\x80', '\x90', '\x9F', '\xA0', '\xBF', '\xC3',
                                                      '\xE4', '\xED', '\xF0', '\xF4'));
    const auto parts = *rc::gen::container<std::vector<std::string>>(rc::gen::container<std::string>(byte));
    StreamDecoder decoder;
    std::string bytes, text;
    for (const std::string& part : parts) {
        const std::string out = decoder.push(part);
        RC_ASSERT(is_valid_utf8(out));
        bytes += part;
        text += out;
    }
    text += decoder.flush();
    RC_ASSERT(text == repair_utf8(bytes));
}

}  // namespace
}  // namespace cachalot
