#include "file/foreign_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "file/gguf.h"
#include "file/safetensors.h"
#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using namespace std::string_literals;

TEST(ForeignFile, IsNamedByBothReaders) {
    const std::pair<std::string, const char*> cases[] = {
        {"", "is empty"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"},
        {"<!DOCTYPE html><html></html>", "web page"},
        {"\xef\xbb\xbf\n  <HTML lang=\"en\">", "web page"},
        {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"},
        {"{\"error\": \"Entry not found\"}", "JSON"},
        {"Invalid username or password.", "text"},
        {"PK\3\4"s + std::string(60, '\1'), "ZIP"},
        {"\x80\2}q\1"s, "pickle"},
        {"\x1f\x8b\b"s + std::string(20, '\0'), "gzip"},
        {"\x28\xb5\x2f\xfd\1\2"s, "zstd"},
        {std::string(4096, '\0'), "zeros"},
        {std::string(257, 'a') + "ustar\0"s + std::string(300, '\0'), "tar"},
        {"tjgg\1\0\0\0"s, "before GGUF"},
        {"CLOGPROB\1\0\0\0"s, "--baseline"},
        {"CCHROUTE\1\0\0\0"s, "cache-sim"},
        {"CCPACK01\0\0\0"s, "--expert-pack"},
    };
    for (const auto& [contents, named] : cases) {
        const auto bytes = std::as_bytes(std::span(contents));
        EXPECT_THAT(error_of([&] { (void)Gguf::parse(bytes, "model"); }),
                    AllOf(HasSubstr("model: not a GGUF file"), HasSubstr(named)));
        EXPECT_THAT(error_of([&] { (void)Safetensors::parse(bytes, "weights"); }),
                    AllOf(HasSubstr("weights: not a safetensors file"), HasSubstr(named)));
    }
}

TEST(ForeignFile, OneReaderKnowsTheOthersFile) {
    const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    std::string file(8, '\0');
    file[0] = static_cast<char>(header.size());
    file += header + "1234";
    EXPECT_NO_THROW((void)Safetensors::parse(std::as_bytes(std::span(file)), "x"));
    EXPECT_THAT(error_of([&] { (void)Gguf::parse(std::as_bytes(std::span(file)), "x"); }),
                HasSubstr("give the folder"));
    const std::string gguf = "GGUF\3\0\0\0"s + std::string(16, '\0');
    EXPECT_THAT(error_of([&] { (void)Safetensors::parse(std::as_bytes(std::span(gguf)), "x"); }),
                HasSubstr("is a GGUF file"));
}

TEST(ForeignFile, SaysNothingAboutWhatItDoesNotKnow) {
    for (const std::string& bytes : {"\1\2\3\4\5"s, "\xff\xfe\xfd"s, "GGU\0"s})
        EXPECT_EQ(foreign_file(std::as_bytes(std::span(bytes))), "");
}

TEST(ForeignFile, NamesOfUnfinishedFiles) {
    for (const char* name : {"m.gguf.partial", "m.part", "m.gguf.crdownload", "a/m.incomplete"})
        EXPECT_THAT(unfinished_name(name), HasSubstr("unfinished")) << name;
    for (const char* name : {"m.gguf", "partial", "m.partial.gguf"}) EXPECT_EQ(unfinished_name(name), "");
}

}  // namespace
}  // namespace cachalot
