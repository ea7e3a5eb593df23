// Experts streamed from packs: shared work, and one pack in place of another that fails.
#include "engine/streaming_test.h"

namespace cachalot {
namespace {

using test::evaluate;
using test::small_options;
using test::Streaming;
using testing::AllOf;
using testing::HasSubstr;

std::string file_of(const QueuedRead& read) {
    return std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", read.descriptor));
}

class PackedStreaming : public Streaming {
  protected:
    // Two packs, as if on different disks.
    void SetUp() override {
        for (const char* name : {"a.pack", "b.pack"}) {
            write_pack(*test::nano(), folder.path() / name);
            packs.push_back(std::make_shared<ExpertPack>(*test::nano(), folder.path() / name));
        }
        Engine resident(test::nano(), small_options());
        expected = evaluate(resident, ids);
    }
    Engine engine(std::unique_ptr<ReadQueue> queue, ExpertPacks from,
                  StreamingExpertStore** store = nullptr) {
        auto made = std::make_unique<StreamingExpertStore>(*test::nano(), 40, std::move(queue), std::nullopt,
                                                           std::move(from));
        if (store) *store = made.get();
        return Engine(test::nano(), small_options(), std::move(made));
    }

    ExpertPacks packs;
    std::vector<float> expected;
};

TEST_F(PackedStreaming, GivesTheSameBitsAndSharesTheWork) {
    for (std::size_t count : {1u, 2u}) {
        std::map<std::string, int> reads;
        auto queue = std::make_unique<test::FaultyQueue>();
        queue->fault = [&](const QueuedRead& read) -> std::optional<std::int64_t> {
            ++reads[std::filesystem::path(file_of(read)).filename()];
            return {};
        };
        Engine e =
            engine(std::move(queue), {packs.begin(), packs.begin() + static_cast<std::ptrdiff_t>(count)});
        EXPECT_EQ(evaluate(e, ids), expected);
        EXPECT_EQ(e.expert_stats()->packs, static_cast<int>(count));
        EXPECT_EQ(e.expert_stats()->failed_reads, 0u);
        EXPECT_EQ(reads.size(), count);
        for (const auto& [name, times] : reads) EXPECT_GT(times, 50) << name;
    }
    Engine best = engine(make_read_queue(), packs);
    EXPECT_EQ(evaluate(best, ids), expected);
}

TEST_F(PackedStreaming, AFailingDiskIsReplacedByTheOthers) {
    auto queue = std::make_unique<test::FaultyQueue>();
    auto* disk = queue.get();
    std::string broken = "a.pack";
    disk->fault = [&](const QueuedRead& read) -> std::optional<std::int64_t> {
        if (file_of(read).find(broken) != std::string::npos) return -EIO;
        return {};
    };
    Engine e = engine(std::move(queue), packs);
    EXPECT_EQ(evaluate(e, ids), expected);
    const auto failed = e.expert_stats()->failed_reads;
    EXPECT_GT(failed, 0u);
    broken = "pack";  // both
    EXPECT_EQ(evaluate(e, ids), expected);
    broken = "nano";  // all
    disk->fault = [&](const QueuedRead&) { return -EIO; };
    try {
        evaluate(e, ids);
        ADD_FAILURE() << "no Error was thrown";
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr("nano.gguf"), HasSubstr("offset"), HasSubstr("expert ")));
    }
    disk->fault = {};
    EXPECT_EQ(evaluate(e, ids), expected);
}

TEST_F(PackedStreaming, APackThatIsCutOffWhileItIsOpenIsReplaced) {
    Engine e = engine(make_read_queue(), packs);
    std::filesystem::resize_file(folder.path() / "a.pack", 8192);
    std::filesystem::resize_file(folder.path() / "b.pack", 0);
    EXPECT_EQ(evaluate(e, ids), expected);
    EXPECT_GT(e.expert_stats()->failed_reads, 50u);
}

}  // namespace
}  // namespace cachalot
