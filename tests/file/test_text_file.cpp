#include "file/text_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "file/regular_file.h"
#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(RegularFile, PartsAreReadWhereTheyAre) {
    const TempDir dir;
    write_file(dir / "a", "whale");
    const RegularFile file(dir / "a");
    EXPECT_EQ(file.size(), 5u);
    std::string part(3, ' ');
    file.read(2, std::as_writable_bytes(std::span(part)));
    EXPECT_EQ(part, "ale");
    EXPECT_THAT(error_of([&] { file.read(3, std::as_writable_bytes(std::span(part))); }),
                AllOf(HasSubstr((dir / "a").string()), HasSubstr("ends before byte 6")));
}

TEST(TextFile, AWholeFileIsRead) {
    const TempDir dir;
    for (const std::string& text : {std::string(), std::string("a\0b", 3), std::string(200'000, 'x')}) {
        write_file(dir / "a", text);
        EXPECT_EQ(read_text_file(dir / "a"), text);
        EXPECT_EQ(read_text_file(dir / "a", text.size()), text);
        EXPECT_EQ(read_text_input(dir / "a"), text);
    }
    for (const auto& read : {read_text_file, read_text_input})
        EXPECT_THAT(error_of([&] { read(dir / "a", 199'999); }), HasSubstr("larger than 199999 bytes"));
}

// Neither waits for a writer nor reads without end.
TEST(TextFile, DevicesAndPipesAreNoFiles) {
    const TempDir dir;
    ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
    const std::string pipe = (dir / "pipe").string();
    for (const auto& path : {pipe, std::string("/dev/zero"), std::string("/dev/null")})
        EXPECT_THAT(error_of([&] { read_text_file(path); }),
                    AllOf(HasSubstr(path), HasSubstr("is not a regular file")));
    for (const auto& read : {read_text_file, read_text_input}) {
        EXPECT_THAT(error_of([&] { read(dir.path(), 10); }), HasSubstr("is a directory"));
        EXPECT_THAT(error_of([&] { read(dir / "missing", 10); }), HasSubstr("No such file"));
    }
}

TEST(TextFile, WhatIsNamedAsInputMayBeAPipe) {
    const TempDir dir;
    const auto pipe = dir / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    std::thread writer([&] { std::ofstream(pipe) << "from a pipe"; });
    EXPECT_EQ(read_text_input(pipe), "from a pipe");
    writer.join();
    EXPECT_EQ(read_text_input("/dev/null"), "");
    EXPECT_THAT(error_of([&] { read_text_input("/dev/zero", 1000); }), HasSubstr("larger than 1000 bytes"));
}

}  // namespace
}  // namespace cachalot
