// Whole lines, full disks and torn ones are tested with the audit log (tests/server/test_audit.cpp).
#include "file/line_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "file/text_file.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class LineFiles : public testing::Test {
  protected:
    test::TemporaryFolder folder;
    const std::string path = (folder.path() / "log").string();
};

TEST_F(LineFiles, IsMadeForItsOwnerAlone) {
    LineFile file(path);
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    EXPECT_THAT([] { LineFile{std::string("/nowhere/log")}; },
                ThrowsMessage<Error>(HasSubstr("/nowhere/log: cannot be opened: No such file")));
}

TEST_F(LineFiles, IsMadeAnewWhenItWasRenamedOrRemoved) {
    LineFile file(path);
    EXPECT_EQ(file.append("first"), 0);
    std::filesystem::rename(path, path + ".1");
    EXPECT_EQ(file.append("second"), 0);
    EXPECT_EQ(file.append("third"), 0);
    EXPECT_EQ(read_text_file(path + ".1"), "first\n");
    EXPECT_EQ(read_text_file(path), "second\nthird\n");
    std::filesystem::remove(path);
    EXPECT_EQ(file.append("fourth"), 0);
    EXPECT_EQ(read_text_file(path), "fourth\n");
}

TEST_F(LineFiles, GoesOnInTheOldFileWhereThereCanBeNoNewOne) {
    const auto inner = folder.path() / "inner", gone = folder.path() / "gone";
    std::filesystem::create_directory(inner);
    LineFile file((inner / "log").string());
    std::filesystem::rename(inner, gone);
    EXPECT_EQ(file.append("kept"), 0);
    EXPECT_EQ(read_text_file(gone / "log"), "kept\n");
}

// As standard error that is piped into a program which has stopped.
TEST_F(LineFiles, NeverWaitsForAPipeThatWasOpenAlready) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd reader(ends[0]);
    LineFile file{UniqueFd(ends[1])};
    int written = 0, error = 0;
    while ((error = file.append(std::string(10'000, 'x'))) == 0) ++written;
    EXPECT_EQ(error, EAGAIN);
    EXPECT_GT(written, 0);
    std::string text(1 << 20, '\0');
    text.resize(static_cast<std::size_t>(::read(reader.get(), text.data(), text.size())));
    EXPECT_EQ(file.append("next"), 0);
    std::string more(100, '\0');
    more.resize(static_cast<std::size_t>(::read(reader.get(), more.data(), more.size())));
    EXPECT_TRUE(more == "\nnext\n" || text.back() == '\n') << more;
}

TEST_F(LineFiles, TellsOfAPipeThatIsClosed) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    LineFile file{UniqueFd(ends[1])};
    UniqueFd(ends[0]).reset();
    const auto before = ::signal(SIGPIPE, SIG_IGN);
    EXPECT_EQ(file.append("lost"), EPIPE);
    ::signal(SIGPIPE, before);
}

}  // namespace
}  // namespace cachalot
