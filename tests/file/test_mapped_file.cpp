#include "file/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string text_of(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
}

TEST(MappedFile, MapsContents) {
    const TempDir dir;
    write_file(dir / "a", "hello");
    const MappedFile file(dir / "a");
    EXPECT_EQ(text_of(file), "hello");
    EXPECT_EQ(file.path(), (dir / "a").string());
    file.check_not_truncated();
}

TEST(MappedFile, EmptyFileIsEmpty) {
    const TempDir dir;
    write_file(dir / "a", "");
    const MappedFile file(dir / "a");
    EXPECT_EQ(file.size(), 0);
    file.advise(MappedFile::Access::will_need);
    file.check_not_truncated();
}

TEST(MappedFile, MovesOwnership) {
    const TempDir dir;
    write_file(dir / "a", "one");
    write_file(dir / "b", "two");
    MappedFile first(dir / "a");
    MappedFile second(std::move(first));
    EXPECT_EQ(text_of(second), "one");
    second = MappedFile(dir / "b");
    EXPECT_EQ(text_of(second), "two");
    second.check_not_truncated();
}

TEST(MappedFile, ErrorsNameThePath) {
    const TempDir dir;
    const auto missing = dir / "missing.gguf";
    EXPECT_THAT(error_of([&] { MappedFile file(missing); }),
                AllOf(HasSubstr(missing.string()), HasSubstr("No such file")));
    EXPECT_THAT(error_of([&] { MappedFile file(dir.path()); }),
                AllOf(HasSubstr(dir.path().string()), HasSubstr("is a directory")));
    ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
    EXPECT_THAT(error_of([&] { MappedFile file(dir / "pipe"); }), HasSubstr("not a regular file"));
}

TEST(MappedFile, UnreadableFile) {
    if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
    const TempDir dir;
    write_file(dir / "a", "secret");
    ASSERT_EQ(::chmod((dir / "a").c_str(), 0), 0);
    EXPECT_THAT(error_of([&] { MappedFile file(dir / "a"); }), HasSubstr("Permission denied"));
}

TEST(MappedFile, NoticesTruncation) {
    const TempDir dir;
    write_file(dir / "a", std::string(10'000, 'x'));
    const MappedFile file(dir / "a");
    std::filesystem::resize_file(dir / "a", 20'000);
    file.check_not_truncated();
    std::filesystem::resize_file(dir / "a", 9'999);
    EXPECT_THAT(error_of([&] { file.check_not_truncated(); }), HasSubstr("truncated from 10000 to 9999"));
}

TEST(MappedFile, SurvivesReplacementByRename) {
    const TempDir dir;
    write_file(dir / "a", "old");
    const MappedFile file(dir / "a");
    write_file(dir / "b", "");
    std::filesystem::rename(dir / "b", dir / "a");
    file.check_not_truncated();
    EXPECT_EQ(text_of(file), "old");
}

TEST(MappedFile, AdviceTakesAnyPart) {
    const TempDir dir;
    write_file(dir / "a", std::string(100'000, 'x'));
    const MappedFile file(dir / "a");
    for (auto access :
         {MappedFile::Access::random, MappedFile::Access::sequential, MappedFile::Access::will_need}) {
        file.advise(access);
        file.advise(access, file.bytes().subspan(12'345, 1));
        file.advise(access, file.bytes().last(1));
        file.advise(access, file.bytes().last(0));
    }
    EXPECT_EQ(text_of(file), std::string(100'000, 'x'));
}

}  // namespace
}  // namespace cachalot
