#include "file/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Json, ParsesAnObject) {
    const auto value = parse_file_json(R"({"a": 1, "b": {"a": [true, null, "x"]}, "c": []})", "test");
    EXPECT_EQ(value.dump(), R"({"a":1,"b":{"a":[true,null,"x"]},"c":[]})");
}

// Writes down what it receives.
class Recorder : public JsonHandler {
  public:
    std::string seen;
    void key(int depth, std::string& name) override { seen += fmt::format("{}k:{} ", depth, name); }
    void text(int depth, std::string& value) override { seen += fmt::format("{}t:{} ", depth, value); }
    void natural(int depth, std::uint64_t value) override { seen += fmt::format("{}n:{} ", depth, value); }
    void other(int depth) override { seen += fmt::format("{}? ", depth); }
    void open(int depth, bool is_array) override {
        seen += fmt::format("{}{} ", depth, is_array ? '[' : '{');
    }
    void close(int depth) override { seen += fmt::format("{}. ", depth); }
};

TEST(Json, ScansInOrder) {
    Recorder recorder;
    scan_json(R"({"z": {"x": 1}, "b": [-2, 3.5, null, true, "s"], "a": 4})", "test", 2, recorder);
    EXPECT_EQ(recorder.seen, "0{ 1k:z 1{ 2k:x 2n:1 1. 1k:b 1[ 2? 2? 2? 2? 2t:s 1. 1k:a 1n:4 0. ");
}

TEST(Json, RefusesWhatTwoParsersCouldReadDifferently) {
    const auto refused = [](std::string_view text) {
        return error_of([&] { parse_file_json(text, "file.json"); });
    };
    EXPECT_THAT(refused(R"({"a": 1, "a": 2})"),
                AllOf(StartsWith("file.json:"), HasSubstr("'a' appears twice")));
    EXPECT_THAT(refused(R"({"x": {"a": 1, "a": 1}})"), HasSubstr("appears twice"));
    EXPECT_THAT(refused(R"({"a": 1, "\u0061": 2})"), HasSubstr("appears twice"));
}

TEST(Json, RefusesMalformedText) {
    for (const char* text : {"", "{", "[]", "1", "\"x\"", "null", "{} x", "{\"a\": NaN}", "{\"a\": 01}",
                             "{\"a\": 1e999}", "{\"a\": \"\xff\"}", "{'a': 1}", "{\"a\": 1,}"}) {
        Recorder recorder;
        EXPECT_THAT(error_of([&] { parse_file_json(text, "file.json"); }), StartsWith("file.json:")) << text;
        EXPECT_THAT(error_of([&] { scan_json(text, "file.json", 16, recorder); }), StartsWith("file.json:"))
            << text;
    }
}

TEST(Json, SaysWhereAndWhatItIsInstead) {
    const std::pair<std::string, const char*> cases[] = {
        {"x", "x.json: is no JSON at line 1, column 1; "},
        {"{\n  \"a\": 1,\n  b\n}", "x.json: is no JSON at line 3, column 3; "},
        {"{\"a\": 1", "x.json: is no JSON, as it ends too early, at line 1, column 8; "},
        {"{\"a\": [1,\n", "ends too early, at line 2, column 1; "},
        {"{\"a\": \"\xff\"}", "x.json: is no JSON at line 1, column 8; "},
        {"{\"a\": 1e999}", "a number that is out of range"},
        {"", "x.json: is no JSON: it is empty"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
         "x.json: is no JSON: it is a pointer of Git LFS"},
        {"<!DOCTYPE html><html>", "x.json: is no JSON: it is a web page"},
        {std::string("PK\3\4....", 8), "x.json: is no JSON: it is a ZIP archive"},
        {std::string(64, '\0'), "x.json: is no JSON: it begins with nothing but zeros"},
    };
    for (const auto& entry : cases) {
        const std::string& text = entry.first;
        const char* said = entry.second;
        Recorder recorder;
        for (const auto& message : {error_of([&] { parse_file_json(text, "x.json"); }),
                                    error_of([&] { scan_json(text, "x.json", 16, recorder); }),
                                    error_of([&] { check_json(text, "x.json"); })}) {
            EXPECT_THAT(message, HasSubstr(said)) << text;
            EXPECT_THAT(message, testing::Not(HasSubstr("exception"))) << text;
        }
    }
    EXPECT_THAT(error_of([&] { parse_file_json("{", "x.json.part"); }), HasSubstr("its name ends in .part"));
    EXPECT_NO_THROW(check_json("[1, {}]", "x"));
}

TEST(Json, SameKeyInDifferentObjectsIsFine) {
    EXPECT_NO_THROW(parse_file_json(R"({"a": {"k": 1}, "b": {"k": 1, "a": {"k": 2}}})", "test"));
}

TEST(Json, LimitsDepthAndSize) {
    const std::string deep = "{\"a\":" + std::string(100'000, '[');
    Recorder recorder;
    EXPECT_THAT(error_of([&] { parse_file_json(deep, "test"); }), HasSubstr("16 levels deep"));
    EXPECT_THAT(error_of([&] { scan_json(deep, "test", 16, recorder); }), HasSubstr("16 levels deep"));
    const char* three = R"({"a": {"b": [1]}})";
    EXPECT_NO_THROW(parse_file_json(three, "test", 3));
    EXPECT_NO_THROW(scan_json(three, "test", 3, recorder));
    EXPECT_THROW(parse_file_json(three, "test", 2), Error);
    EXPECT_THROW(scan_json(three, "test", 2, recorder), Error);
    EXPECT_THAT(error_of([&] { parse_file_json(R"({"a": [1, 2, 3, 4, 5]})", "test", 16, 4); }),
                HasSubstr("more than 4 values"));
}

}  // namespace
}  // namespace cachalot
