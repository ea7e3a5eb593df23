#include "file/output_target.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <thread>

#include "file/output_file.h"
#include "file/temporary_names.h"
#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

namespace fs = std::filesystem;

void put(const fs::path& path, std::string_view text) {
    OutputFile file(path);
    file.write(bytes_of(text));
    file.commit();
}

mode_t mode_of(const fs::path& path) {
    struct stat status = {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 0777;
}

TEST(OutputTarget, RefusesWhatIsNoPlaceForAFile) {
    const TempDir dir;
    fs::create_directory(dir / "folder");
    write_file(dir / "file", "x");
    fs::create_symlink("loop", dir / "loop");
    fs::create_symlink("folder", dir / "to-folder");
    fs::create_symlink("missing/x", dir / "to-missing");
    const std::pair<const char*, const char*> cases[] = {
        {"folder", "is a folder"},        {"folder/", "is a folder"},
        {"to-folder", "is a folder"},     {"new/", "name of a folder"},
        {"missing/x", "does not exist"},  {"missing/deep/x", "does not exist"},
        {"to-missing", "does not exist"}, {"file/x", "Not a directory"},
        {"file/", "Not a directory"},     {"loop", "cannot follow the link"},
    };
    for (const auto& [name, problem] : cases) {
        const auto path = dir / name;
        EXPECT_THAT(error_of([&] { check_output(path); }),
                    AllOf(HasSubstr(path.string()), HasSubstr(problem)));
        EXPECT_THAT(error_of([&] { OutputFile file(path); }), HasSubstr(problem)) << name;
    }
    EXPECT_THAT(error_of([] { check_output(""); }), HasSubstr("no name"));
    EXPECT_THAT(dir.files(), UnorderedElementsAre("folder", "file", "loop", "to-folder", "to-missing"));
}

TEST(OutputTarget, SaysWhetherAFileWouldBeReplaced) {
    const TempDir dir;
    write_file(dir / "file", "x");
    fs::create_symlink("file", dir / "link");
    fs::create_symlink("new", dir / "dangling");
    EXPECT_TRUE(would_replace(dir / "file"));
    EXPECT_TRUE(would_replace(dir / "link"));
    EXPECT_FALSE(would_replace(dir / "dangling"));
    EXPECT_FALSE(would_replace(dir / "new"));
    EXPECT_FALSE(would_replace("/dev/null"));
    EXPECT_THAT(dir.files(), UnorderedElementsAre("file", "link", "dangling"));
}

TEST(OutputTarget, NeedsPermission) {
    if (::geteuid() == 0) GTEST_SKIP() << "everything is allowed";
    const TempDir dir;
    fs::create_directory(dir / "closed");
    fs::permissions(dir / "closed", fs::perms::owner_read | fs::perms::owner_exec);
    EXPECT_THAT(error_of([&] { check_output(dir / "closed/x"); }), HasSubstr("nothing may be written"));
}

TEST(OutputTarget, NoSpaceIsSaidWithBothNumbers) {
    const TempDir dir;
    EXPECT_NO_THROW(check_space(dir / "x", 1));
    EXPECT_THAT(error_of([&] { check_space(dir / "x", 1ull << 62); }),
                HasSubstr("no space for 4611686018427387904 bytes"));
}

TEST(OutputFile, FollowsLinks) {
    const TempDir dir;
    fs::create_directory(dir / "far");
    write_file(dir / "far/file", "old");
    fs::create_symlink("far/file", dir / "near");
    fs::create_symlink(dir / "near", dir / "chain");
    fs::create_symlink("far/new", dir / "dangling");
    put(dir / "chain", "one");
    EXPECT_EQ(read_file(dir / "far/file"), "one");
    put(dir / "dangling", "two");
    EXPECT_EQ(read_file(dir / "far/new"), "two");
    for (const char* name : {"near", "chain", "dangling"}) EXPECT_TRUE(fs::is_symlink(dir / name)) << name;
    EXPECT_THAT(dir.files(), UnorderedElementsAre("far", "near", "chain", "dangling"));
}

TEST(OutputFile, WritesThroughFifos) {
    const TempDir dir;
    ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
    fs::create_symlink("fifo", dir / "link");
    for (const char* name : {"fifo", "link"}) {
        std::string read;
        std::thread reader([&] { read = read_file(dir / "fifo"); });
        OutputFile file(dir / name);
        file.reserve(1 << 20);
        file.write(bytes_of(std::string(70'000, 'x')));
        file.commit();
        reader.join();
        EXPECT_EQ(read.size(), 70'000u);
    }
    EXPECT_TRUE(fs::is_fifo(dir / "fifo"));
    EXPECT_THAT(dir.files(), UnorderedElementsAre("fifo", "link"));
}

TEST(OutputFile, WritesThroughDevicesAlsoWhenResumable) {
    put("/dev/null", "gone");
    OutputFile file("/dev/null", OutputFile::Resumable{});
    EXPECT_EQ(file.resume("a"), 0u);
    file.write(bytes_of("gone"));
    file.checkpoint();
    file.commit();
    EXPECT_TRUE(fs::is_character_file("/dev/null"));
    EXPECT_FALSE(fs::exists("/dev/null.partial"));
}

TEST(OutputFile, AppendsToOpenDescriptors) {
    const TempDir dir;
    const int descriptor = ::open((dir / "log").c_str(), O_WRONLY | O_CREAT, 0600);
    ASSERT_EQ(::write(descriptor, "before ", 7), 7);
    put(fmt::format("/dev/fd/{}", descriptor), "after");
    ASSERT_EQ(::write(descriptor, ".", 1), 1);  // it is still open
    ::close(descriptor);
    EXPECT_EQ(read_file(dir / "log"), "before after.");
    EXPECT_THAT(error_of([&] { check_output(fmt::format("/dev/fd/{}", descriptor)); }),
                HasSubstr("not open for writing"));
}

TEST(OutputFile, IsPrivateUntilItIsFinished) {
    const TempDir dir;
    const mode_t before = ::umask(027);
    OutputFile file(dir / "out");
    EXPECT_EQ(mode_of(dir / dir.files().at(0)), 0600u);
    file.commit();
    EXPECT_EQ(mode_of(dir / "out"), 0640u);
    ::chmod((dir / "out").c_str(), 0604);
    put(dir / "out", "again");
    EXPECT_EQ(mode_of(dir / "out"), 0604u) << "a file that is replaced keeps its permissions";
    ::umask(before);
}

TEST(OutputFile, FinishedWorkIsKeptWhereItCannotBeRenamed) {
    const TempDir dir;
    std::string error;
    {
        OutputFile file(dir / "out");
        file.write(bytes_of("hours of work"));
        fs::create_directory(dir / "out");
        error = error_of([&] { file.commit(); });
    }
    const auto at = error.find("the finished file is ");
    ASSERT_NE(at, std::string::npos) << error;
    EXPECT_EQ(read_file(error.substr(at + 21)), "hours of work");
}

// What a run before has left: its fingerprint, bytes, and what the journal promises of them.
void leave(const fs::path& path, std::string_view fingerprint, std::string_view promised,
           std::string_view more) {
    OutputFile file(path, OutputFile::Resumable{});
    EXPECT_EQ(file.resume(fingerprint), 0u);
    file.write(bytes_of(promised));
    if (!promised.empty()) file.checkpoint();
    file.write(bytes_of(more));
}

TEST(OutputFile, GoesOnWithItsOwnWorkOnly) {
    const TempDir dir;
    leave(dir / "out", "mine", "promised", "and more");
    EXPECT_THAT(error_of([&] {
                    OutputFile file(dir / "out", OutputFile::Resumable{});
                    file.resume("other");
                }),
                AllOf(HasSubstr("out.partial"), HasSubstr("unfinished work")));
    {
        OutputFile file(dir / "out", OutputFile::Resumable{});
        EXPECT_EQ(file.resume("mine"), 8u) << "nothing was lost by the attempt";
        file.write(bytes_of(", done"));
        file.commit();
    }
    EXPECT_EQ(read_file(dir / "out"), "promised, done");
    EXPECT_THAT(dir.files(), ElementsAre("out"));

    leave(dir / "out", "mine", "promised", "");
    OutputFile file(dir / "out", OutputFile::Resumable{});
    EXPECT_EQ(file.resume("other", true), 0u);
    file.commit();
    EXPECT_EQ(read_file(dir / "out"), "");
}

TEST(OutputFile, LeavesForeignPartialFilesAlone) {
    const TempDir dir;
    write_file(dir / "out.partial", "of a download");
    for (int i = 0; i < 2; ++i)
        EXPECT_THAT(error_of([&] {
                        OutputFile file(dir / "out", OutputFile::Resumable{});
                        file.resume("mine");
                    }),
                    HasSubstr("out.partial"));
    { OutputFile never_resumed(dir / "out", OutputFile::Resumable{}); }
    EXPECT_EQ(read_file(dir / "out.partial"), "of a download");
    EXPECT_THAT(dir.files(), ElementsAre("out.partial"));
}

TEST(OutputFile, NothingWorthKeepingIsNotKept) {
    const TempDir dir;
    leave(dir / "out", "mine", "", "not on the disk");
    EXPECT_THAT(dir.files(), IsEmpty());
    { OutputFile never_resumed(dir / "out", OutputFile::Resumable{}); }
    EXPECT_THAT(dir.files(), IsEmpty());
}

TEST(TemporaryFiles, AreRemovedWhenAProcessIsToldToEnd) {
    const TempDir dir;
    leave(dir / "long", "mine", "promised", "");
    const pid_t child = ::fork();
    if (child == 0) {
        ::signal(SIGTERM, [](int) {
            remove_temporary_files();
            ::_exit(7);
        });
        put(dir / "done", "finished");
        OutputFile half(dir / "half");
        OutputFile another(dir / "another");
        OutputFile on(dir / "long", OutputFile::Resumable{});
        on.resume("mine");
        ::raise(SIGTERM);
        ::_exit(1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 7);
    EXPECT_THAT(dir.files(), UnorderedElementsAre("done", "long.partial", "long.partial.journal"));
}

}  // namespace
}  // namespace cachalot
