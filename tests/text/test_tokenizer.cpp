#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "support/growth.h"
#include "text/tokenizer_test_data.h"

namespace cachalot {
namespace {

using test::error_of;
using test::nano;
using test::small_data;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kParse = SpecialTokens::parse;
constexpr auto kLiteral = SpecialTokens::literal;

std::int32_t byte_id(char c) { return 4 + static_cast<unsigned char>(c); }
Tokenizer small() { return Tokenizer(small_data(), "small"); }

TEST(Tokenizer, MergesAndSpecials) {
    const Tokenizer t = small();
    const std::int32_t think = *t.find("think");
    EXPECT_THAT(t.encode("think", kParse), ElementsAre(think));
    EXPECT_THAT(t.encode("<think>", kParse), ElementsAre(2));
    EXPECT_THAT(t.encode("<thinker>", kParse), ElementsAre(3));
    EXPECT_THAT(t.encode("a<think><eos>a", kParse), ElementsAre(byte_id('a'), 2, 1, byte_id('a')));
    EXPECT_THAT(t.encode("<thin", kParse), ElementsAre(byte_id('<'), *t.find("thi"), byte_id('n')));
    EXPECT_THAT(t.encode("<<think>", kParse), ElementsAre(byte_id('<'), 2));
}

// "<think" is one piece to the pre-tokenizer (punctuation and letters), and its merges stop at what they
// know.
TEST(Tokenizer, LiteralTextIsNeverSpecial) {
    const Tokenizer t = small();
    for (const char* text : {"<think>", "<bos>", "<eos><think><thinker>", "a <think> b"}) {
        const auto ids = t.encode(text, kLiteral);
        for (const std::int32_t id : ids) EXPECT_FALSE(t.is_special(id)) << text;
        EXPECT_EQ(t.decode(ids), text);
    }
}

TEST(Tokenizer, LeftmostThenLongestSpecial) {
    TokenizerData data = small_data();
    data.tokens[2] = "<a>";
    data.tokens[3] = "<a><b>";
    data.tokens[0] = "b><b";
    const Tokenizer t(std::move(data), "test");
    EXPECT_THAT(t.encode("<a><b>", kParse), ElementsAre(3));
    EXPECT_THAT(t.encode("<a><a><b>", kParse), ElementsAre(2, 3));
    EXPECT_THAT(t.encode("<a><b", kParse), ElementsAre(2, byte_id('<'), byte_id('b')));
    EXPECT_THAT(t.encode("b><b><b>", kParse),
                ElementsAre(0, byte_id('>'), byte_id('<'), byte_id('b'), byte_id('>')));
}

TEST(Tokenizer, PartsKeepTheirModes) {
    const Tokenizer t = small();
    const std::vector<TextPart> parts = {
        {"<bos>th", kParse}, {"ink<think> a", kLiteral}, {"a<think>", kParse}};
    const auto ids = t.encode_parts(parts);
    EXPECT_EQ(t.decode(ids), "<bos>think<think> aa<think>");
    EXPECT_EQ(ids.front(), 0);
    EXPECT_EQ(ids[1], *t.find("think"));  // merged across the border
    EXPECT_EQ(ids.back(), 2);
    EXPECT_EQ(std::count_if(ids.begin(), ids.end(), [&](auto id) { return t.is_special(id); }), 2);
}

TEST(Tokenizer, NoSpecialTokenArisesAcrossParts) {
    const Tokenizer t = small();
    for (const std::vector<TextPart>& parts :
         {std::vector<TextPart>{{"<", kParse}, {"think", kLiteral}, {">", kParse}},
          std::vector<TextPart>{{"<thi", kParse}, {"nk>", kParse}},
          std::vector<TextPart>{{"<think", kLiteral}, {">", kParse}}}) {
        for (const std::int32_t id : t.encode_parts(parts)) EXPECT_FALSE(t.is_special(id));
    }
}

TEST(Tokenizer, LooksUpTokens) {
    const Tokenizer& t = nano();
    EXPECT_EQ(t.size(), 8192);
    EXPECT_EQ(t.bos(), 0);
    EXPECT_EQ(t.eos(), 1);
    EXPECT_EQ(t.find("<think>"), 5);
    EXPECT_EQ(t.find("｜DSML｜"), 7);
    EXPECT_EQ(t.find("<｜nothing｜>"), std::nullopt);
    EXPECT_EQ(t.find(""), std::nullopt);
    EXPECT_TRUE(t.is_special(5));
    EXPECT_EQ(t.bytes(5), "<think>");
    const std::int32_t the = *t.find(" the");
    EXPECT_EQ(t.bytes(the), " the");
    EXPECT_EQ(t.data().tokens[static_cast<std::size_t>(the)], "Ġthe");
    EXPECT_FALSE(t.is_special(the));
    EXPECT_EQ(t.find("Ġthe"), std::nullopt);
}

TEST(Tokenizer, RefusesIdsOutOfRange) {
    const Tokenizer t = small();
    EXPECT_THAT(error_of([&] { t.bytes(-1); }), HasSubstr("small: there is no token -1"));
    EXPECT_THAT(error_of([&] { t.is_special(t.size()); }), HasSubstr("the vocabulary has 267"));
    const std::vector<std::int32_t> ids = {4, 1 << 30};
    EXPECT_THAT(error_of([&] { t.decode(ids); }), HasSubstr("there is no token 1073741824"));
}

TEST(Tokenizer, MovesButKeepsItsVocabulary) {
    Tokenizer a = small();
    const Tokenizer b = std::move(a);
    EXPECT_EQ(b.find("think"), small().find("think"));
    EXPECT_EQ(Tokenizer(b.data(), "again").encode("think", kParse), b.encode("think", kParse));
}

TEST(Tokenizer, VerifiesItsData) {
    const auto broken = [](auto&& change) {
        return error_of([&] {
            TokenizerData data = small_data();
            change(data);
            Tokenizer(std::move(data), "x.gguf");
        });
    };
    using D = TokenizerData;
    EXPECT_THAT(broken([](D& d) { d = {}; }), HasSubstr("x.gguf: the tokenizer has 0 tokens"));
    EXPECT_THAT(broken([](D& d) { d.types.pop_back(); }), HasSubstr("267 tokens but 266 token types"));
    EXPECT_THAT(broken([](D& d) { d.types[9] = 7; }), HasSubstr("token 9 has the unknown type 7"));
    EXPECT_THAT(broken([](D& d) { d.tokens[2] = ""; }), HasSubstr("token 2 is empty"));
    EXPECT_THAT(broken([](D& d) { d.tokens[2] = std::string(257, '<'); }),
                HasSubstr("token 2 is 257 bytes long"));
    EXPECT_THAT(broken([](D& d) { d.tokens[3] = "<think>"; }),
                HasSubstr("tokens 2 and 3 have the same text"));
    EXPECT_THAT(broken([](D& d) { d.tokens[4 + 0x20] = "!?"; }), HasSubstr("no token for the byte 0x20"));
    EXPECT_THAT(broken([](D& d) { d.types[4 + 0x20] = 3; }), HasSubstr("no token for the byte 0x20"));
    EXPECT_THAT(broken([](D& d) { d.bos = -1; }), HasSubstr("beginning-of-sequence token -1"));
    EXPECT_THAT(broken([](D& d) { d.eos = 267; }), HasSubstr("end-of-sequence token 267"));
    EXPECT_THAT(broken([](D& d) { d.eos = 4; }), HasSubstr("end-of-sequence token 4 is not a special token"));
    EXPECT_THAT(broken([](D& d) { d.merges[1] = "thi"; }), HasSubstr("merge 1 is not two tokens"));
    EXPECT_THAT(broken([](D& d) { d.merges[1] = "ht i"; }), HasSubstr("the left part of merge 1 is not in"));
    EXPECT_THAT(broken([](D& d) { d.merges[1] = "th it"; }),
                HasSubstr("the right part of merge 1 is not in"));
    EXPECT_THAT(broken([](D& d) { d.merges[1] = "i i"; }), HasSubstr("the result of merge 1 is not in"));
    EXPECT_THAT(broken([](D& d) { d.merges.push_back("t h"); }), HasSubstr("two merges of the tokens"));
    // A merge that made a special token would let plain text forge it.
    EXPECT_THAT(broken([](D& d) { d.types.back() = 3; }),
                HasSubstr("the result of merge 6 is token 266, which"));
}

RC_GTEST_PROP(Tokenizer, AnyBytesSurvive, (const std::string& text)) {
    RC_ASSERT(nano().decode(nano().encode(text, kParse)) == text);
    RC_ASSERT(nano().decode(nano().encode(text, kLiteral)) == text);
}

// Text that mixes words, special tokens and halves of characters.
rc::Gen<std::string> mixed_text() {
    return rc::gen::map(
        rc::gen::container<std::vector<std::string>>(
            rc::gen::oneOf(rc::gen::element<std::string>("<think>", "</think>", "<｜User｜>", "｜DSML｜", "<",
                                                         "｜", "think", " the", "12", "漢字", "🐋", "\xF0\x9F",
                                                         "\x90\x8B", "  ", "\n", "don't", "<｜Us", "er｜>"),
                           rc::gen::arbitrary<std::string>())),
        [](const std::vector<std::string>& parts) {
            std::string text;
            for (const std::string& p : parts) text += p;
            return text;
        });
}

RC_GTEST_PROP(Tokenizer, LiteralPartsYieldNoSpecials, ()) {
    const std::string text = *mixed_text();
    const auto ids = nano().encode(text, kLiteral);
    for (const std::int32_t id : ids) RC_ASSERT(!nano().is_special(id));
    RC_ASSERT(nano().decode(ids) == text);
}

RC_GTEST_PROP(Tokenizer, BordersOfLiteralPartsDoNotMatter, ()) {
    const std::string text = *mixed_text();
    const auto cut = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
    const std::vector<TextPart> parts = {{text.substr(0, cut), kLiteral}, {text.substr(cut), kLiteral}};
    RC_ASSERT(nano().encode_parts(parts) == nano().encode(text, kLiteral));
}

// A literal part between template text: exactly the template's special tokens come out.
RC_GTEST_PROP(Tokenizer, TemplatesAreImmuneToTheirContents, ()) {
    const std::string text = *mixed_text();
    const std::vector<TextPart> parts = {
        {"<｜User｜>", kParse}, {text, kLiteral}, {"<｜Assistant｜><think>", kParse}};
    auto ids = nano().encode_parts(parts);
    RC_ASSERT(nano().decode(ids) == "<｜User｜>" + text + "<｜Assistant｜><think>");
    std::erase_if(ids, [](std::int32_t id) { return !nano().is_special(id); });
    RC_ASSERT(ids == (std::vector<std::int32_t>{3, 4, 5}));
}

// At most so many tokens, or nothing; never more or fewer than encode_parts finds.
RC_GTEST_PROP(Tokenizer, EncodesAtMostAsManyTokens, ()) {
    const std::string text = *mixed_text();
    const std::vector<TextPart> parts = {
        {"<｜User｜>", kParse}, {text, kLiteral}, {"<｜Assistant｜><think>", kParse}};
    const auto ids = nano().encode_parts(parts);
    RC_ASSERT(nano().encode_at_most(ids.size(), parts) == ids);
    RC_ASSERT(nano().encode_at_most(ids.size() + 1, parts) == ids);
    const auto fewer = *rc::gen::inRange<std::size_t>(0, ids.size());
    RC_ASSERT(nano().encode_at_most(fewer, parts) == std::nullopt);
}

RC_GTEST_PROP(Tokenizer, HasAtLeastAsManyTokensAsItsBytesNeed, ()) {
    const std::string text = *mixed_text();
    RC_ASSERT(nano().least_tokens(text) <= nano().encode(text, kLiteral).size());
}

TEST(Tokenizer, TheBoundOfTokensIsOfUse) {
    EXPECT_EQ(nano().least_tokens(""), 0u);
    EXPECT_EQ(nano().least_tokens("a"), 1u);
    const Tokenizer t = small();
    EXPECT_EQ(t.least_tokens(std::string(400, 'a')), 100u);  // "aaaa" is the longest token
    EXPECT_EQ(t.encode(std::string(400, 'a'), kLiteral).size(), 100u);
    EXPECT_EQ(t.least_tokens(std::string(7, 'x')), 7u);
    EXPECT_EQ(t.least_tokens("thinkthink"), 2u);
}

// A text of any size costs what a text of the context's length costs, and a look at its bytes.
TEST(Tokenizer, StopsCountingWhereNoMoreIsWanted) {
    for (const char* unit : {" ", "a", "漢", "\n", "=", "1", "\xFF", "ab ", "<｜User｜>"}) {
        std::string text;
        while (text.size() < std::size_t{4} << 20) text += unit;
        for (const auto mode : {kParse, kLiteral}) {
            const TextPart part{text, mode};
            const double begin = test::thread_seconds();
            EXPECT_EQ(nano().encode_at_most(100, {&part, 1}), std::nullopt) << unit;
            EXPECT_LT(test::thread_seconds() - begin, 1) << unit;
        }
    }
}

TEST(Tokenizer, LongRunsTakeLinearTime) {
    for (const char* unit : {" ", "a", "漢", "\n", "=", "\xFF", "<", "<｜User", "ab "}) {
        std::string text;
        while (text.size() < std::size_t{1} << 20) text += unit;
        const auto ids = nano().encode(text, kParse);
        EXPECT_EQ(nano().decode(ids), text);
    }
}

}  // namespace
}  // namespace cachalot
