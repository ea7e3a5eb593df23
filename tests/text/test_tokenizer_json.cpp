#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "text/tokenizer.h"
#include "text/tokenizer_test_data.h"

namespace cachalot {
namespace {

using nlohmann::json;
using test::error_of;
using testing::HasSubstr;

const std::string& nano_text() {
    static const std::string text = test::tokenizer_file("nano.json");
    return text;
}

// The error that a changed nano tokenizer gives.
template <class F>
std::string changed(F&& change) {
    static const json original = json::parse(nano_text());
    json file = original;
    change(file);
    return error_of([&] { Tokenizer::from_json(file.dump(), "t.json"); });
}

TEST(TokenizerJson, ReadsMergesAsStringsOrPairs) {
    json file = json::parse(nano_text());
    for (json& merge : file["model"]["merges"])
        merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    const Tokenizer strings = Tokenizer::from_json(file.dump(), "strings");
    EXPECT_EQ(strings.data().merges, test::nano().data().merges);
    EXPECT_EQ(strings.data().tokens, test::nano().data().tokens);
}

TEST(TokenizerJson, TellsControlFromUserDefined) {
    json file = json::parse(nano_text());
    file["added_tokens"][5]["special"] = false;
    const Tokenizer t = Tokenizer::from_json(file.dump(), "t");
    EXPECT_EQ(t.data().types[4], static_cast<int>(TokenType::control));
    EXPECT_EQ(t.data().types[5], static_cast<int>(TokenType::user_defined));
    EXPECT_EQ(t.data().types[6000], static_cast<int>(TokenType::normal));
}

TEST(TokenizerJson, AddedTokensMayBeOutsideTheVocabulary) {
    json file = json::parse(nano_text());
    file["added_tokens"].push_back({{"id", 8192}, {"content", "<new>"}, {"special", true}});
    const Tokenizer t = Tokenizer::from_json(file.dump(), "t");
    EXPECT_EQ(t.size(), 8193);
    EXPECT_EQ(t.encode("<new>", SpecialTokens::parse), (std::vector<std::int32_t>{8192}));
}

TEST(TokenizerJson, RefusesWhatIsNoTokenizer) {
    const auto read = [](const std::string& text) {
        return error_of([&] { Tokenizer::from_json(text, "t.json"); });
    };
    EXPECT_THAT(read(""), HasSubstr("t.json: "));
    EXPECT_THAT(read("[]"), HasSubstr("t.json: not a JSON object"));
    EXPECT_THAT(read("{}"), HasSubstr("t.json: \"model\" is missing"));
    EXPECT_THAT(read("{\"model\": 1}"), HasSubstr("\"model\" is not an object"));
    EXPECT_THAT(read(std::string(100000, '[')), HasSubstr("nested more than"));
    EXPECT_THAT(read("{\"model\": \"\xFF\"}"), HasSubstr("t.json: "));
    for (std::size_t n = 0; n < nano_text().size(); n += 9973)
        EXPECT_THAT(read(nano_text().substr(0, n)), HasSubstr("t.json: "));
}

TEST(TokenizerJson, RefusesOtherKindsOfTokenizer) {
    EXPECT_THAT(changed([](json& f) { f["model"]["type"] = "Unigram"; }), HasSubstr("not \"BPE\""));
    EXPECT_THAT(changed([](json& f) { f["model"]["ignore_merges"] = true; }), HasSubstr("\"ignore_merges\""));
    EXPECT_THAT(changed([](json& f) { f["model"]["dropout"] = 0.1; }), HasSubstr("\"dropout\""));
    EXPECT_THAT(changed([](json& f) { f["normalizer"] = {{"type", "NFC"}}; }), HasSubstr("\"normalizer\""));
    EXPECT_THAT(changed([](json& f) { f["added_tokens"][3]["lstrip"] = true; }), HasSubstr("\"lstrip\""));
    json::json_pointer steps("/pre_tokenizer/pretokenizers");
    EXPECT_THAT(changed([&](json& f) { f[steps][0]["pattern"]["Regex"] = "\\p{N}"; }),
                HasSubstr("does not split"));
    EXPECT_THAT(changed([&](json& f) { f[steps].erase(1); }), HasSubstr("does not split"));
    EXPECT_THAT(changed([&](json& f) { f[steps][1]["behavior"] = "Removed"; }), HasSubstr("not supported"));
    EXPECT_THAT(changed([&](json& f) { f[steps][3]["add_prefix_space"] = true; }),
                HasSubstr("not supported"));
    EXPECT_THAT(changed([&](json& f) { f[steps][2] = 5; }), HasSubstr("not an object"));
}

TEST(TokenizerJson, RefusesBadIds) {
    EXPECT_THAT(changed([](json& f) { f["model"]["vocab"]["Ġthe"] = 8192; }),
                HasSubstr("not one of 0 to 8191"));
    EXPECT_THAT(changed([](json& f) { f["model"]["vocab"]["Ġthe"] = -1; }),
                HasSubstr("not one of 0 to 8191"));
    EXPECT_THAT(changed([](json& f) { f["model"]["vocab"]["Ġthe"] = "1"; }),
                HasSubstr("not one of 0 to 8191"));
    EXPECT_THAT(changed([](json& f) { f["model"]["vocab"]["Ġthe"] = 1e300; }),
                HasSubstr("not one of 0 to 8191"));
    EXPECT_THAT(changed([](json& f) { f["model"]["vocab"]["Ġthe"] = 9; }),
                HasSubstr("two tokens have the id 9"));
    EXPECT_THAT(changed([](json& f) { f["added_tokens"][4]["id"] = 5; }),
                HasSubstr("two tokens have the id 5"));
    EXPECT_THAT(changed([](json& f) { f["added_tokens"][4]["content"] = "<x>"; }),
                HasSubstr("two tokens have the id 4"));
    EXPECT_THAT(changed([](json& f) { f["added_tokens"].push_back(f["added_tokens"][4]); }),
                HasSubstr("(no error)"));
    EXPECT_THAT(changed([](json& f) {
                    const json token = {{"id", 8193}, {"content", "<x>"}, {"special", true}};
                    f["added_tokens"].insert(f["added_tokens"].end(), {token, token});
                }),
                HasSubstr("no token has the id 8192"));
    EXPECT_THAT(changed([](json& f) { f["added_tokens"][4].erase("id"); }), HasSubstr("\"id\" is missing"));
    EXPECT_THAT(changed([](json& f) { f["added_tokens"][4] = 4; }), HasSubstr("not a token"));
    EXPECT_THAT(changed([](json& f) {
                    f["added_tokens"].erase(1);
                    f["model"]["vocab"]["<end>"] = 1;
                    f["model"]["vocab"].erase("<｜end▁of▁sentence｜>");
                }),
                HasSubstr("there is no token <｜end▁of▁sentence｜>"));
}

TEST(TokenizerJson, RefusesBadMerges) {
    EXPECT_THAT(changed([](json& f) { f["model"]["merges"][7] = json::array({"a"}); }),
                HasSubstr("merge 7 is neither"));
    EXPECT_THAT(changed([](json& f) { f["model"]["merges"][7] = 7; }), HasSubstr("merge 7 is neither"));
    EXPECT_THAT(changed([](json& f) { f["model"]["merges"][7] = "a"; }),
                HasSubstr("merge 7 is not two tokens"));
    EXPECT_THAT(changed([](json& f) { f["model"]["merges"][7] = "漢 字"; }),
                HasSubstr("merge 7 is not in the"));
    EXPECT_THAT(changed([](json& f) { f["model"]["merges"] = "a b"; }),
                HasSubstr("\"merges\" is not an array"));
}

}  // namespace
}  // namespace cachalot
