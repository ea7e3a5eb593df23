#include "file/block_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "base/aligned.h"
#include "file/support.h"
#include "file/waiting_reads.h"
#include "support/faulty_queue.h"
#include "support/recorded_log.h"
#include "support/refused_threads.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::unique_ptr<ReadQueue> queue_of(const std::string& name) {
    if (name == "uring") return make_uring_queue();
    if (name == "threads") return make_thread_queue(3);
    return std::make_unique<test::FaultyQueue>();
}

// Memory that the disk can write to. It must outlive the reader, so it is declared first.
class Blocks {
  public:
    explicit Blocks(std::uint64_t bytes) : memory_(static_cast<std::size_t>(bytes + BlockReader::kBlock)) {}
    std::byte* data() {
        const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
        return memory_.data() + (BlockReader::kBlock - address % BlockReader::kBlock) % BlockReader::kBlock;
    }

  private:
    AlignedBuffer<std::byte> memory_;
};

class BlockReaderTest : public testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        queue = queue_of(GetParam());
        if (!queue) GTEST_SKIP() << "not on this system";
        std::mt19937 random(3);
        std::size_t size = 5'000'123;
        for (const char* name : {"a", "b"}) {
            std::string bytes(size, ' ');
            for (auto& c : bytes) c = static_cast<char>(random());
            write_file(dir / name, bytes);
            contents.push_back(bytes);
            files.emplace_back(dir / name);
            size = 300;
        }
    }

    std::vector<const MappedFile*> pointers() const {
        std::vector<const MappedFile*> all;
        for (const auto& file : files) all.push_back(&file);
        return all;
    }

    TempDir dir;
    std::vector<std::string> contents;
    std::vector<MappedFile> files;
    std::unique_ptr<ReadQueue> queue;
};

INSTANTIATE_TEST_SUITE_P(Queues, BlockReaderTest, testing::Values("threads", "uring", "faulty"),
                         [](const auto& test) { return test.param; });

TEST_P(BlockReaderTest, ReadsAnyRunsOfAnyFile) {
    std::mt19937 random(4);
    auto pick = [&](std::uint64_t n) {
        return std::uniform_int_distribution<std::uint64_t>(0, n - 1)(random);
    };
    struct Wanted {
        std::vector<BlockReader::Run> runs;
        std::vector<Blocks> memory;
    };
    std::map<std::uint64_t, Wanted> jobs;
    BlockReader reader(pointers(), std::move(queue));
    EXPECT_FALSE(reader.next(true));  // nothing is under way
    for (std::uint64_t job = 0; job < 12; ++job) {
        Wanted& w = jobs[job];
        for (int i = 0; i < 3; ++i) {
            BlockReader::Run run;
            run.file = pick(3) == 0;
            const std::uint64_t size = contents[run.file].size();
            run.begin = pick(size);
            run.size = 1 + pick(size - run.begin);
            if (job == 0 && i == 0) run = {0, 0, contents[0].size(), nullptr};
            w.memory.emplace_back(run.read_bytes());
            run.to = w.memory.back().data();
            w.runs.push_back(run);
        }
        reader.submit(job, w.runs);
    }
    EXPECT_EQ(reader.under_way(), jobs.size());
    std::size_t finished = 0;
    while (finished < jobs.size()) {
        const auto done = reader.next(finished % 2 == 0);  // without waiting it may find nothing yet
        if (!done) continue;
        ++finished;
        EXPECT_EQ(done->error, "");
        for (const auto& run : jobs.at(done->job).runs)
            EXPECT_EQ(std::memcmp(run.to + run.begin % BlockReader::kBlock,
                                  contents[run.file].data() + run.begin, run.size),
                      0);
    }
    EXPECT_EQ(reader.under_way(), 0u);
}

TEST_P(BlockReaderTest, ATruncatedFileIsAnErrorThatNamesItAndNothingElseSuffers) {
    Blocks first(4'000'000), second(4'000'000);
    BlockReader reader(pointers(), std::move(queue));
    std::filesystem::resize_file(dir / "a", 3'000'000);
    const BlockReader::Run good{0, 5000, 1'000'000, first.data()};
    const BlockReader::Run bad{0, 2'990'000, 1'000'000, second.data()};
    const BlockReader::Run both[] = {good, bad};
    reader.submit(7, both);
    auto done = reader.next(true);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->job, 7u);
    EXPECT_EQ(done->run, 1u);
    EXPECT_THAT(done->error,
                AllOf(HasSubstr((dir / "a").string()), HasSubstr("offset"), HasSubstr("truncated")));
    reader.submit(7, {&good, 1});
    done = reader.next(true);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->error, "");
    EXPECT_EQ(std::memcmp(first.data() + 5000 % 4096, contents[0].data() + 5000, good.size), 0);
}

TEST_P(BlockReaderTest, WhatIsUnderWayIsWaitedForInTheEnd) {
    const std::string& content = contents[0];
    const std::string nothing(content.size(), '\0');
    for (int round = 0; round < 10; ++round) {
        Blocks memory(6'000'000);
        std::memset(memory.data(), 0, content.size());
        const BlockReader::Run run{0, 0, content.size(), memory.data()};
        {
            BlockReader reader(pointers(), queue_of(GetParam()));
            reader.submit(1, {&run, 1});
            std::this_thread::sleep_for(std::chrono::microseconds(100 * round));
        }
        const std::string read(reinterpret_cast<const char*>(memory.data()), content.size());
        EXPECT_TRUE(read == content || read == nothing);  // nothing: the job had not begun
    }
}

TEST_P(BlockReaderTest, LessUrgentJobsCanBeRaisedOrTakenBack) {
    constexpr std::uint64_t kJobs = 40;
    std::vector<Blocks> memory;
    BlockReader reader(pointers(), std::move(queue));
    std::vector<BlockReader::Run> runs;
    for (std::uint64_t job = 0; job < kJobs; ++job) {
        BlockReader::Run run{0, job * 10'000, 2'500'000, nullptr};
        memory.emplace_back(run.read_bytes());
        run.to = memory.back().data();
        runs.push_back(run);
        reader.submit(job, {&run, 1}, job % 2 ? ReadClass::idle : ReadClass::likely);
    }
    std::set<std::uint64_t> left;
    for (std::uint64_t job = 0; job < kJobs; ++job) left.insert(job);
    reader.raise(kJobs - 1, ReadClass::demand);
    reader.raise(0, ReadClass::demand);  // it may have begun
    for (std::uint64_t job = 20; job < 30; ++job)
        if (reader.withdraw(job)) left.erase(job);
    EXPECT_EQ(reader.under_way(), left.size());
    reader.raise(*left.rbegin(), ReadClass::idle);  // already more urgent: nothing happens
    while (const auto done = reader.next(true)) {
        EXPECT_EQ(done->error, "");
        EXPECT_EQ(left.erase(done->job), 1u);
        const auto& run = runs[done->job];
        EXPECT_EQ(
            std::memcmp(run.to + run.begin % BlockReader::kBlock, contents[0].data() + run.begin, run.size),
            0);
    }
    EXPECT_EQ(left, std::set<std::uint64_t>());
    reader.submit(3, {&runs[3], 1}, ReadClass::idle);  // and is never asked for
}

TEST(WaitingReads, TheMostUrgentGoFirstAndTheOthersOnlyWhenFewAreUnderWay) {
    WaitingReads waiting;
    std::vector<QueuedRead> reads;
    for (std::uint64_t id = 0; id < 8; ++id) {
        QueuedRead read;
        read.id = id;
        read.urgency = static_cast<ReadClass>(3 - id % 4);
        reads.push_back(read);
    }
    waiting.add(reads);
    std::vector<std::uint64_t> order;
    auto take = [&](std::size_t under_way) {
        const auto read = waiting.take(under_way);
        if (read) order.push_back(read->id);
        return read.has_value();
    };
    EXPECT_TRUE(waiting.withdraw(7, ReadClass::demand));
    EXPECT_FALSE(waiting.withdraw(7, ReadClass::demand));
    EXPECT_FALSE(waiting.withdraw(6, ReadClass::demand));  // of another class
    EXPECT_TRUE(take(1000));
    EXPECT_FALSE(take(1000));
    EXPECT_TRUE(take(5) && take(5) && take(5) && take(5));
    EXPECT_FALSE(take(1));
    EXPECT_TRUE(take(0) && take(0));
    EXPECT_FALSE(take(0));
    EXPECT_EQ(order, (std::vector<std::uint64_t>{3, 2, 6, 1, 5, 0, 4}));
}

TEST(BlockReader, AFailingDiskIsAnErrorWhenAllPiecesAreBack) {
    TempDir dir;
    write_file(dir / "a", std::string(6'000'000, 'x'));
    const MappedFile file(dir / "a");
    const MappedFile* files[] = {&file};
    auto queue = std::make_unique<test::FaultyQueue>();
    auto* disk = queue.get();
    disk->fault = [](const QueuedRead& read) -> std::optional<std::int64_t> {
        if (read.offset >= BlockReader::kPiece && read.offset < 2 * BlockReader::kPiece) return -EIO;
        return {};
    };
    Blocks memory(6'000'000);
    BlockReader reader(files, std::move(queue));
    const BlockReader::Run run{0, 100, 5'900'000, memory.data()};
    reader.submit(1, {&run, 1});
    auto done = reader.next(true);
    ASSERT_TRUE(done);
    EXPECT_EQ(disk->under_way, 0);
    EXPECT_THAT(done->error, AllOf(HasSubstr((dir / "a").string()), HasSubstr("Input/output error")));
    disk->fault = [](const QueuedRead&) { return -EINTR; };  // for ever
    reader.submit(1, {&run, 1});
    done = reader.next(true);
    ASSERT_TRUE(done);
    EXPECT_THAT(done->error, HasSubstr("interrupted"));
}

// What the kernel does not take at once is handed to it later, and nobody waits for that while others need
// the queue.
TEST(UringQueue, AKernelThatIsShortOfMemoryIsAskedAgain) {
    TempDir dir;
    std::string bytes(9'000'000, ' ');
    std::mt19937 random(8);
    for (auto& c : bytes) c = static_cast<char>(random());
    write_file(dir / "a", bytes);
    const MappedFile file(dir / "a");
    const MappedFile* files[] = {&file};
    for (const int refusal : {-EAGAIN, -EBUSY, 0}) {
        std::atomic<bool> refuses = true;
        std::atomic<int> refused = 0;
        auto queue = make_uring_queue([&](const std::function<int()>& real) {
            const bool takes = !refuses && refused++ % 3 == 0;  // and now and then not
            return takes ? real() : (++refused, refusal);
        });
        if (!queue) GTEST_SKIP() << "not on this system";
        Blocks memory(9'100'000);
        BlockReader reader(files, std::move(queue));
        std::vector<BlockReader::Run> runs;
        for (std::uint64_t i = 0; i < 30; ++i)
            runs.push_back({0, i * 300'000, 250'000, memory.data() + i * 73 * 4096});
        for (std::uint64_t i = 0; i < runs.size(); ++i)
            reader.submit(i, {&runs[i], 1}, i % 2 ? ReadClass::demand : ReadClass::certain);
        EXPECT_FALSE(reader.next(false));
        EXPECT_GT(refused, 0);
        refuses = false;
        std::size_t finished = 0;
        for (; const auto done = reader.next(true); ++finished) {
            EXPECT_EQ(done->error, "");
            const auto& run = runs[done->job];
            EXPECT_EQ(std::memcmp(run.to + run.begin % 4096, bytes.data() + run.begin, run.size), 0);
        }
        EXPECT_EQ(finished, runs.size());
    }
}

TEST(UringQueue, ARingThatIsBrokenIsAnErrorAndNoHang) {
    TempDir dir;
    write_file(dir / "a", std::string(500'000, 'x'));
    const MappedFile file(dir / "a");
    const MappedFile* files[] = {&file};
    for (const int good : {0, 1}) {  // calls before it breaks
        const auto log = std::make_shared<test::RecordedLog>();
        auto queue = make_uring_queue(
            [left = good](const std::function<int()>& real) mutable { return left-- > 0 ? real() : -EBADF; },
            Log(log));
        if (!queue) GTEST_SKIP() << "not on this system";
        Blocks memory(1'000'000);
        const BlockReader::Run a{0, 0, 400'000, memory.data()}, b{0, 0, 400'000, memory.data() + 409'600};
        BlockReader reader(files, std::move(queue));
        reader.submit(1, {&a, 1});
        if (good) reader.submit(2, {&b, 1});
        auto all = [&] {
            while (reader.next(true)) {
            }
        };
        EXPECT_THROW(all(), Error);
        EXPECT_THAT(log->text(), testing::HasSubstr("error: io_uring does not work any more"));
        EXPECT_THAT(log->text(), testing::HasSubstr("Bad file descriptor"));
        // A job that is refused is not under way, so it may be asked for again.
        const auto before = reader.under_way();
        for (int i = 0; i < 2; ++i) EXPECT_THROW(reader.submit(3, {&a, 1}), Error);
        EXPECT_EQ(reader.under_way(), before);
    }
}

TEST(ReadQueues, DoWithFewerThreadsOrSayThatThereIsNone) {
    TempDir dir;
    write_file(dir / "a", std::string(500'000, 'x'));
    const MappedFile file(dir / "a");
    const MappedFile* files[] = {&file};
    for (int given : {0, 1, 3, 8}) {
        if (given > 0 && !test::kThreadsAreCounted) break;
        std::unique_ptr<ReadQueue> queue;
        {
            const test::RefusedThreads limit(given);
            if (given == 0) {
                EXPECT_THROW(make_thread_queue(8), Error);
                EXPECT_EQ(make_uring_queue(), nullptr);
                EXPECT_THROW(make_read_queue(), Error);
                continue;
            }
            queue = make_thread_queue(8);
        }
        Blocks memory(600'000);
        const BlockReader::Run run{0, 0, 500'000, memory.data()};
        BlockReader reader(files, std::move(queue));
        reader.submit(1, {&run, 1});
        const auto done = reader.next(true);
        ASSERT_TRUE(done);
        EXPECT_EQ(done->error, "");
    }
}

}  // namespace
}  // namespace cachalot
