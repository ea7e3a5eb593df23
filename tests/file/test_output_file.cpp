#include "file/output_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(OutputFile, AppearsOnlyWhenCommitted) {
    const TempDir dir;
    write_file(dir / "out", "old");
    OutputFile file(dir / "out");
    file.write(bytes_of("new "));
    file.write(bytes_of("contents"));
    EXPECT_EQ(read_file(dir / "out"), "old");
    file.commit();
    EXPECT_EQ(read_file(dir / "out"), "new contents");
    EXPECT_THAT(dir.files(), ElementsAre("out"));
}

TEST(OutputFile, LeavesNothingBehindWithoutCommit) {
    const TempDir dir;
    {
        OutputFile file(dir / "out");
        file.write(bytes_of("half"));
        file.reserve(10'000);
    }
    EXPECT_THAT(dir.files(), IsEmpty());
}

TEST(OutputFile, TwoWritersDoNotMix) {
    const TempDir dir;
    OutputFile a(dir / "out");
    OutputFile b(dir / "out");
    a.write(bytes_of("a"));
    b.write(bytes_of("b"));
    a.commit();
    b.commit();
    EXPECT_EQ(read_file(dir / "out"), "b");
    EXPECT_THAT(dir.files(), ElementsAre("out"));
}

TEST(OutputFile, SkippedBytesAreZerosThatTakeNoSpace) {
    const TempDir dir;
    constexpr std::uint64_t kHole = std::uint64_t(1) << 32;
    OutputFile file(dir / "out");
    file.reserve(std::uint64_t(1) << 50, (std::uint64_t(1) << 50) - 4096);  // more than any disk has
    file.write(bytes_of("begin"));
    file.skip(kHole);
    file.write(bytes_of("end"));
    file.skip(7);
    file.commit();
    EXPECT_EQ(std::filesystem::file_size(dir / "out"), 5 + kHole + 3 + 7);
    struct stat status = {};
    ASSERT_EQ(::stat((dir / "out").c_str(), &status), 0);
    EXPECT_LT(status.st_blocks, 1 << 10);
    std::ifstream in(dir / "out", std::ios::binary);
    std::string text(6, 'x');
    in.read(text.data(), 6);
    EXPECT_EQ(text, std::string("begin\0", 6));
    in.seekg(static_cast<std::streamoff>(5 + kHole - 1));
    text.assign(11, 'x');
    in.read(text.data(), 11);
    EXPECT_EQ(text, std::string("\0end\0\0\0\0\0\0\0", 11));
}

TEST(OutputFile, SmallAndLargeWritesKeepTheirOrder) {
    const TempDir dir;
    std::string expected;
    OutputFile file(dir / "out");
    for (std::size_t size : {1u, 1u << 20, 3u, (1u << 20) - 3, 3'000'000u, 0u, 7u}) {
        const std::string piece(size, static_cast<char>('a' + expected.size() % 26));
        file.write(bytes_of(piece));
        expected += piece;
    }
    file.commit();
    EXPECT_EQ(read_file(dir / "out"), expected);
}

TEST(OutputFile, ErrorsNameThePath) {
    const TempDir dir;
    const auto path = dir / "no/such/folder/out";
    EXPECT_THAT(error_of([&] { OutputFile file(path); }),
                AllOf(HasSubstr(path.string()), HasSubstr("cannot create")));
}

// A limit on the size of files stands in for a full disk.
class SmallDisk {
  public:
    explicit SmallDisk(rlim_t size) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{size, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~SmallDisk() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }

  private:
    void (*handler_)(int);
    rlimit before_{};
};

TEST(OutputFile, FullDisk) {
    const TempDir dir;
    write_file(dir / "out", "old");
    {
        const SmallDisk disk(100'000);
        OutputFile file(dir / "out");
        EXPECT_THAT(error_of([&] { file.write(bytes_of(std::string(2'000'000, 'x'))); }),
                    AllOf(HasSubstr("out: cannot write"), HasSubstr("too large")));
    }
    EXPECT_EQ(read_file(dir / "out"), "old");
    EXPECT_THAT(dir.files(), ElementsAre("out"));
}

TEST(OutputFile, FullDiskIsNoticedAtCommit) {
    const TempDir dir;
    {
        const SmallDisk disk(1'000);
        OutputFile file(dir / "out");
        file.write(bytes_of(std::string(2'000, 'x')));
        EXPECT_THAT(error_of([&] { file.commit(); }), HasSubstr("cannot write"));
    }
    EXPECT_THAT(dir.files(), IsEmpty());
}

#ifdef __linux__
TEST(OutputFile, ReservationFailsEarly) {
    const TempDir dir;
    OutputFile file(dir / "out");
    file.reserve(50'000);
    EXPECT_THAT(error_of([&] { file.reserve(1ull << 60); }),
                HasSubstr("cannot reserve 1152921504606846976 bytes"));
}
#endif

}  // namespace
}  // namespace cachalot
