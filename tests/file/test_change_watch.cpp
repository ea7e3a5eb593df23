// Files that change under us are noticed, files that are only moved about are not; hashes are kept as long as
// they are true.
#include "file/change_watch.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <random>

#include "file/content_hash.h"
#include "support.h"

namespace cachalot {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

// Waits until the clock of the file system has moved on, so that what is done next has another time.
void tick(const TempDir& dir) {
    struct stat before = {}, now = {};
    write_file(dir / "clock", "");
    ASSERT_EQ(::stat((dir / "clock").c_str(), &before), 0);
    do {
        write_file(dir / "clock", "");
        ASSERT_EQ(::stat((dir / "clock").c_str(), &now), 0);
    } while (FileStamp(now).changed == FileStamp(before).changed);
}

void overwrite(const fs::path& path, std::int64_t at, char c) {
    std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(at).put(c);
}

void set_modified(const fs::path& path, std::int64_t nanoseconds) {
    const timespec times[2] = {{0, UTIME_OMIT}, {nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

class Watched : public testing::Test {
  protected:
    Watched() {
        write_file(dir / "a", "some weights");
        write_file(dir / "b", "others");
        for (const char* name : {"a", "b"}) files.emplace_back(dir / name);
        watch.emplace(files);
        tick(dir);
    }
    TempDir dir;
    std::vector<MappedFile> files;
    std::optional<ChangeWatch> watch;
};

TEST_F(Watched, WhatIsWrittenIsNoticedAndNeverForgotten) {
    EXPECT_EQ(watch->problem(), "");
    overwrite(dir / "b", 2, 'X');
    EXPECT_THAT(watch->problem(), HasSubstr("b: was changed while in use"));
    overwrite(dir / "b", 2, 'h');
    set_modified(dir / "b", files[1].stamp().modified);
    EXPECT_THAT(error_of([&] { watch->check(); }), HasSubstr("b: was changed while in use"));
}

TEST_F(Watched, AnotherSizeIsNoticed) {
    fs::resize_file(dir / "a", 5);
    EXPECT_THAT(watch->problem(), HasSubstr("a: was truncated from 12 to 5 bytes while in use"));
    ChangeWatch second{std::span(files).last(1)};
    fs::resize_file(dir / "b", 50);
    EXPECT_THAT(second.problem(), HasSubstr("b: was changed while in use"));
}

TEST_F(Watched, ATimeThatIsSetBackIsNoticed) {
    overwrite(dir / "a", 0, 'X');
    set_modified(dir / "a", files[0].stamp().modified);
    EXPECT_THAT(watch->problem(), HasSubstr("a: was changed while in use"));
}

TEST_F(Watched, WhatIsOnlyMovedAboutIsUnchanged) {
    fs::create_hard_link(dir / "a", dir / "link");
    EXPECT_EQ(watch->problem(), "");
    tick(dir);
    ASSERT_EQ(::chmod((dir / "a").c_str(), 0400), 0);
    EXPECT_EQ(watch->problem(), "");
    tick(dir);
    write_file(dir / "new", "a better model");
    fs::rename(dir / "new", dir / "a");  // the usual way of replacing a model
    EXPECT_EQ(watch->problem(), "");
    tick(dir);
    fs::rename(dir / "b", dir / "c");
    EXPECT_EQ(watch->problem(), "");
    fs::remove(dir / "c");
    EXPECT_EQ(watch->problem(), "");
    overwrite(dir / "link", 0, 'X');  // the file that is still mapped
    EXPECT_THAT(watch->problem(), HasSubstr("a: was changed while in use"));
}

TEST(ContentHash, IsThatOfAllBytesAndCanBeGivenUp) {
    const TempDir dir;
    std::string text(5'000'000, '\0');
    std::mt19937 random(4);
    for (char& c : text) c = static_cast<char>(random());
    write_file(dir / "a", text);
    const MappedFile file(dir / "a");
    std::vector<std::uint64_t> told;
    EXPECT_EQ(content_hash(file,
                           [&](std::uint64_t done) {
                               told.push_back(done);
                               return true;
                           }),
              hash128(bytes_of(text)));
    EXPECT_GT(told.size(), 1u);
    EXPECT_EQ(told.back(), text.size());
    EXPECT_EQ(content_hash(file, [](std::uint64_t) { return false; }), std::nullopt);
    write_file(dir / "empty", "");
    EXPECT_EQ(content_hash(MappedFile(dir / "empty")), hash128({}));
}

constexpr std::int64_t kSecond = 1'000'000'000;

TEST(KeptHashes, AreFoundAsLongAsNothingIsNewAboutTheFile) {
    const TempDir dir;
    write_file(dir / "a", "some weights");
    const KeptHashes kept(dir / "hashes");
    const Hash128 hash = hash128(bytes_of("some weights"));
    const auto stamp = MappedFile(dir / "a").stamp();
    EXPECT_EQ(kept.find(stamp), std::nullopt);
    kept.keep(stamp, hash, stamp.changed + kSecond);  // too soon to be sure
    EXPECT_EQ(kept.find(stamp), std::nullopt);
    kept.keep(stamp, hash, stamp.changed + 3 * kSecond);
    EXPECT_EQ(kept.find(stamp), hash);
    EXPECT_EQ(kept.find(MappedFile(dir / "a").stamp()), hash);

    tick(dir);
    overwrite(dir / "a", 3, 'X');
    set_modified(dir / "a", stamp.modified);
    const auto set_back = MappedFile(dir / "a").stamp();
    EXPECT_EQ(set_back.modified, stamp.modified);
    EXPECT_EQ(set_back.size, stamp.size);
    EXPECT_EQ(kept.find(set_back), std::nullopt);

    KeptHashes({}).keep(stamp, hash, stamp.changed + 3 * kSecond);
    EXPECT_EQ(KeptHashes({}).find(stamp), std::nullopt);
}

TEST(KeptHashes, ADamagedOneIsNotThere) {
    const TempDir dir;
    write_file(dir / "a", "some weights");
    const KeptHashes kept(dir / "hashes");
    const auto stamp = MappedFile(dir / "a").stamp();
    kept.keep(stamp, hash128({}), stamp.changed + 3 * kSecond);
    const auto path = fs::directory_iterator(dir / "hashes")->path();
    const auto line = read_file(path);
    ASSERT_GT(line.size(), 80u);
    for (std::size_t i = 0; i < line.size(); ++i) {
        auto bad = line;
        bad[i] = static_cast<char>(bad[i] ^ 1);
        write_file(path, bad);
        EXPECT_EQ(kept.find(stamp), std::nullopt) << i;
        write_file(path, line.substr(0, i));
        EXPECT_EQ(kept.find(stamp), std::nullopt) << i;
    }
    write_file(path, line + std::string(1000, 'x'));
    EXPECT_EQ(kept.find(stamp), std::nullopt);
    write_file(path, line);
    EXPECT_EQ(kept.find(stamp), hash128({}));
}

}  // namespace
}  // namespace cachalot
