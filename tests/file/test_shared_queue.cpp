#include "file/shared_queue.h"

#include <gtest/gtest.h>

#include <vector>

namespace cachalot {
namespace {

// A disk that answers at once, in the order of what it was given.
class Instant final : public ReadQueue {
  public:
    const char* name() const override { return "instant"; }
    void submit(std::span<const QueuedRead> reads) override {
        waiting.insert(waiting.end(), reads.begin(), reads.end());
    }
    bool withdraw(std::uint64_t id, ReadClass) override {
        return std::erase_if(waiting, [&](const auto& read) { return read.id == id; }) > 0;
    }
    std::optional<FinishedRead> next(bool) override {
        if (waiting.empty()) return {};
        const QueuedRead read = waiting.front();
        waiting.erase(waiting.begin());
        return FinishedRead{read.id, static_cast<std::int64_t>(read.size)};
    }
    std::vector<QueuedRead> waiting;
};

QueuedRead read(std::uint64_t id, std::size_t size) {
    QueuedRead read;
    read.id = id;
    read.size = size;
    return read;
}

TEST(SharedQueue, EachOwnerGetsItsOwnReads) {
    auto shares = share_queue(std::make_unique<Instant>(), 2);
    EXPECT_STREQ(shares[0]->name(), "instant");
    EXPECT_FALSE(shares[0]->next(true));
    const QueuedRead first[] = {read(0, 10), read(1, 11)}, second[] = {read(0, 20), read(5, 25)};
    shares[0]->submit(first);
    shares[1]->submit(second);
    // Those of the other one finish first, and are kept.
    auto next = shares[1]->next(true);
    ASSERT_TRUE(next);
    EXPECT_EQ(next->id, 0u);
    EXPECT_EQ(next->result, 20);
    next = shares[1]->next(true);
    ASSERT_TRUE(next);
    EXPECT_EQ(next->id, 5u);
    EXPECT_EQ(next->result, 25);
    EXPECT_FALSE(shares[1]->next(true));
    for (const std::uint64_t id : {0u, 1u}) {
        next = shares[0]->next(false);
        ASSERT_TRUE(next);
        EXPECT_EQ(next->id, id);
        EXPECT_EQ(next->result, static_cast<std::int64_t>(10 + id));
    }
    EXPECT_FALSE(shares[0]->next(true));
}

TEST(SharedQueue, WhatIsWithdrawnIsTheOwners) {
    auto disk = std::make_unique<Instant>();
    auto* all = disk.get();
    auto shares = share_queue(std::move(disk), 3);
    const QueuedRead one = read(4, 1);
    for (auto& share : shares) share->submit({&one, 1});
    EXPECT_EQ(all->waiting.size(), 3u);
    EXPECT_TRUE(shares[1]->withdraw(4, ReadClass::demand));
    EXPECT_FALSE(shares[1]->withdraw(4, ReadClass::demand));
    EXPECT_FALSE(shares[1]->next(true));
    EXPECT_TRUE(shares[2]->next(true));
    EXPECT_TRUE(shares[0]->next(true));
    EXPECT_TRUE(all->waiting.empty());
}

}  // namespace
}  // namespace cachalot
