// Whatever happens to the disk or to the process: what the tier hands out is right, and it goes on.
//
// $CACHALOT_KILLS is how often the process that writes is killed.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "support/disk_states.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using namespace test;

// Bytes that page files take.
std::int64_t used(const std::filesystem::path& folder) {
    std::int64_t total = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        struct stat info {};
        if (entry.path().filename().string().starts_with("pages-") &&
            ::stat(entry.path().c_str(), &info) == 0)
            total += info.st_blocks * 512;
    }
    return total;
}

struct FaultyCalls : FileCalls {
    std::mt19937 random{7};
    std::filesystem::path disk;  // if not empty: page files in there have `room`
    std::int64_t room = 0;       // bytes
    unsigned one_in = 0;         // calls that fail with EIO; 0: none
    bool short_writes = false;

    bool fails() {
        if (!one_in || random() % one_in != 0) return false;
        errno = EIO;
        return true;
    }
    ssize_t pread(int file, void* data, std::size_t size, off_t offset) override {
        if (short_writes) size = std::min<std::size_t>(size, 1 + size / 3);
        return FileCalls::pread(file, data, size, offset);
    }
    ssize_t pwrite(int file, const void* data, std::size_t size, off_t offset) override {
        if (fails()) return -1;
        if (short_writes && random() % 3 == 0) {
            errno = EINTR;
            return -1;
        }
        if (short_writes) size = 1 + random() % size;
        if (!disk.empty()) {
            const auto left = room - used(disk);
            if (left <= 0) {
                errno = ENOSPC;
                return -1;
            }
            size = std::min(size, static_cast<std::size_t>(left));
        }
        return FileCalls::pwrite(file, data, size, offset);
    }
    int fdatasync(int file) override { return fails() ? -1 : FileCalls::fdatasync(file); }
    int ftruncate(int file, off_t size) override { return fails() ? -1 : FileCalls::ftruncate(file, size); }
    int punch(int file, off_t offset, off_t size) override {
        return fails() ? -1 : FileCalls::punch(file, offset, size);
    }
};

class DiskFaults : public testing::Test {
  protected:
    std::unique_ptr<DiskTier> open(FileCalls* calls = nullptr, std::int64_t budget = 64 << 20) const {
        auto o = disk_options(folder.path());
        o.calls = calls;
        o.budget = budget;
        o.file_limit = 200'000;
        return std::make_unique<DiskTier>(o, small_pool());
    }

    // Those of the talks of which something is known.
    static int check_all(DiskTier& tier) {
        int found = 0;
        for (int i = 0; i < kTalks; ++i) found += known(tier, talk(i, 1200)) > 0;
        return found;
    }

    std::vector<std::filesystem::path> files(const std::string& prefix) const {
        std::vector<std::filesystem::path> found;
        for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "kv"))
            if (entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
        std::sort(found.begin(), found.end());
        return found;
    }

    void flip_bit(const std::filesystem::path& path, std::mt19937& random) const {
        const auto size = std::filesystem::file_size(path);
        if (size == 0) return;
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        const auto at = static_cast<std::streamoff>(random() % size);
        file.seekg(at);
        const int byte = file.get() ^ (1 << random() % 8);
        file.seekp(at);
        file.put(static_cast<char>(byte));
    }

    static constexpr int kTalks = 6;
    TemporaryFolder folder;
};

TEST_F(DiskFaults, ErrorsOfTheDisk) {
    FaultyCalls calls;
    calls.one_in = 12;
    std::int64_t errors = 0;
    for (int round = 0; round < 6; ++round) {
        std::unique_ptr<DiskTier> tier;
        try {
            tier = open(&calls);
        } catch (const Error&) {  // it could not even be opened
            continue;
        }
        for (int i = 0; i < kTalks; ++i)
            for (std::size_t n : {300, 600, 1100}) store(*tier, talk(i, n));
        tier->flush();
        check_all(*tier);
        errors += tier->stats().write_errors;
    }
    EXPECT_GT(errors, 3);
    calls.one_in = 0;
    auto tier = open(&calls);
    EXPECT_GT(check_all(*tier), 0);
    for (int i = 0; i < kTalks; ++i) store(*tier, talk(i, 1200));
    tier->flush();
    EXPECT_EQ(check_all(*tier), kTalks);
    EXPECT_EQ(tier->stats().write_errors, 0);
    EXPECT_EQ(tier->stats().read_errors, 0);
}

TEST_F(DiskFaults, ShortWritesAndReads) {
    FaultyCalls calls;
    calls.short_writes = true;
    auto tier = open(&calls);
    for (int i = 0; i < kTalks; ++i) store(*tier, talk(i, 600));
    tier->flush();
    EXPECT_EQ(check_all(*tier), kTalks);
    EXPECT_EQ(tier->stats().write_errors, 0);
}

TEST_F(DiskFaults, AFullDisk) {
    FaultyCalls calls;
    calls.disk = folder.path() / "kv";
    calls.room = 700'000;
    auto tier = open(&calls);
    for (int i = 0; i < 30; ++i) {
        store(*tier, talk(i % kTalks, static_cast<std::size_t>(300 + 30 * i)));
        tier->flush();
        check_all(*tier);
    }
    EXPECT_GT(tier->stats().write_errors, 0);
    EXPECT_GT(tier->stats().evictions, 0);  // so that it goes on
    EXPECT_GT(tier->stats().written, 15);
    EXPECT_GT(check_all(*tier), 0);
}

TEST_F(DiskFaults, KilledAtAnyMoment) {
    const char* knob = std::getenv("CACHALOT_KILLS");
    const int kills = knob ? std::atoi(knob) : 40;
    std::mt19937 random(3);
    int found = 0;
    for (int kill = 0; kill < kills; ++kill) {
        int wrote[2];  // the writer says here that something is complete
        ASSERT_EQ(pipe(wrote), 0);
        const pid_t writer = fork();
        ASSERT_GE(writer, 0);
        if (writer == 0) {  // a small budget, so that it evicts, too
            try {
                auto tier = open(nullptr, 1 << 20);
                for (int i = kill;; ++i) {
                    store(*tier, talk(i % kTalks, static_cast<std::size_t>(100 + (i * 131) % 1000)));
                    if (i % 3 == 0) tier->flush();
                    if (i % 3 == 0 && write(wrote[1], "w", 1) != 1) _exit(1);
                }
            } catch (...) {
                _exit(1);
            }
        }
        ::close(wrote[1]);
        char byte = 0;
        if (kill % 2 == 0) {  // else also before anything is complete
            EXPECT_EQ(read(wrote[0], &byte, 1), 1);
        }
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
        ::kill(writer, SIGKILL);
        ::close(wrote[0]);
        int status = 0;
        ASSERT_EQ(waitpid(writer, &status, 0), writer);
        ASSERT_TRUE(WIFSIGNALED(status)) << kill;
        auto tier = open(nullptr, 1 << 20);
        found += check_all(*tier);
        EXPECT_EQ(tier->stats().read_errors, 0) << kill;  // nothing is torn: the index comes last
    }
    EXPECT_GE(found, kills);
}

TEST_F(DiskFaults, FlippedBitsInPages) {
    std::mt19937 random(5);
    {
        auto tier = open();
        for (int i = 0; i < kTalks; ++i)
            for (std::size_t n : {300, 1100}) store(*tier, talk(i, n));
    }
    std::int64_t errors = 0;
    for (int round = 0; round < 12; ++round) {
        const auto pages = files("pages-");
        ASSERT_FALSE(pages.empty());
        for (int i = 0; i < 3; ++i) flip_bit(pages[random() % pages.size()], random);
        if (round % 5 == 0) {  // a write that was torn
            const auto& torn = pages[random() % pages.size()];
            std::filesystem::resize_file(torn, std::filesystem::file_size(torn) * 3 / 4);
        }
        auto tier = open();
        check_all(*tier);
        tier->flush();
        errors += tier->stats().read_errors;
        for (int i = 0; i < kTalks; ++i) store(*tier, talk(i, 1100));  // what was lost is written again
        tier->flush();
        check_all(*tier);
    }
    EXPECT_GT(errors, 0);
}

TEST_F(DiskFaults, FlippedBitsInTheIndex) {
    std::mt19937 random(6);
    int lost = 0;
    for (int round = 0; round < 10; ++round) {
        {
            auto tier = open();
            for (int i = 0; i < kTalks; ++i)
                for (std::size_t n : {300, 1100}) store(*tier, talk(i, n));
        }
        for (int i = 0; i < 1 + round % 8; ++i) flip_bit(folder.path() / "kv" / "index.db", random);
        auto tier = open();
        lost += check_all(*tier) < kTalks;
        store(*tier, talk(100, 500));
        tier->flush();
        check_all(*tier);
    }
    EXPECT_GT(lost, 0);
    // Flipped under an open tier, which knows most of it already.
    auto tier = open();
    for (int round = 0; round < 8; ++round) {
        for (const auto& file : files("index.db"))
            if (!file.string().ends_with("-shm")) flip_bit(file, random);
        store(*tier, talk(200 + round, 700));
        check_all(*tier);
    }
    tier.reset();
    check_all(*open());
}

// A database that is sound, but for what it says.
TEST_F(DiskFaults, AnIndexThatLies) {
    std::mt19937 random(8);
    const std::vector<std::pair<const char*, std::vector<const char*>>> tables = {
        {"blocks", {"parent", "depth", "file", "offset", "size"}},
        {"snapshots", {"base", "length", "file", "offset", "size", "uses", "clock", "last_use", "root"}}};
    auto pick = [&](const auto& from) -> const auto& { return from[random() % from.size()]; };
    int lost = 0;
    for (int round = 0; round < 25; ++round) {
        {
            auto tier = open();
            for (int i = 0; i < kTalks; ++i)
                for (std::size_t n : {300, 1100}) store(*tier, talk(i, n));
        }
        {
            Sqlite index((folder.path() / "kv" / "index.db").string(), Sqlite::Open::write);
            for (int i = 0; i < 1 + round % 6; ++i) {
                const auto& [table, columns] = pick(tables);
                const std::string column = pick(columns);
                const std::vector<std::string> values = {"0",
                                                         "-1",
                                                         "1",
                                                         std::to_string(random() % 5000),
                                                         "9223372036854775807",
                                                         "-9223372036854775808",
                                                         "1e300",
                                                         "NULL",
                                                         "'text'",
                                                         "randomblob(16)",
                                                         "(SELECT key FROM blocks ORDER BY random() LIMIT 1)",
                                                         column + " + 1",
                                                         column + " * 2"};
                index.run(fmt::format(
                    "UPDATE {0} SET {1} = {2} WHERE key IN (SELECT key FROM {0} LIMIT 2 OFFSET {3})", table,
                    column, pick(values), random() % 8));
            }
        }
        auto tier = open(nullptr, round % 2 ? 64 << 20 : 400'000);
        lost += check_all(*tier) < kTalks;
        store(*tier, talk(100 + round, 500));
        tier->flush();
        check_all(*tier);
        tier->flush();
    }
    EXPECT_GT(lost, 0);
}

// Numbers of files that cannot be counted on from.
TEST_F(DiskFaults, AnIndexThatNamesTheLastFileOfAll) {
    for (const char* number : {"9223372036854775807", "1e300"}) {
        {
            auto tier = open();
            store(*tier, talk(1, 1100));
        }
        {
            Sqlite index((folder.path() / "kv" / "index.db").string(), Sqlite::Open::write);
            index.run(fmt::format("UPDATE blocks SET file = {}", number));
        }
        auto tier = open();
        store(*tier, talk(2, 500));
        tier->flush();
        for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "kv"))
            EXPECT_THAT(entry.path().string(), testing::Not(testing::HasSubstr("9223372036854775807")));
    }
}

}  // namespace
}  // namespace cachalot
