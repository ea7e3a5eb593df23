// What was written is found again, in this process and the next, and takes no more room than it should.
#include "cache/disk_tier.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "cache/disk_eviction.h"
#include "support/disk_states.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using namespace test;

class Disk : public testing::Test {
  protected:
    DiskTierOptions options() const { return disk_options(folder.path()); }
    std::unique_ptr<DiskTier> open() const { return open(options()); }
    static std::unique_ptr<DiskTier> open(const DiskTierOptions& o) {
        auto shape = empty_state();
        return std::make_unique<DiskTier>(o, shape);
    }
    std::filesystem::path kv() const { return folder.path() / "kv"; }

    // Bytes that the page files take on the disk.
    std::int64_t page_bytes() const {
        std::int64_t total = 0;
        for (const auto& entry : std::filesystem::directory_iterator(kv())) {
            if (!entry.path().filename().string().starts_with("pages-")) continue;
            struct stat info {};
            EXPECT_EQ(::stat(entry.path().c_str(), &info), 0);
            total += info.st_blocks * 512;
        }
        return total;
    }

    TemporaryFolder folder;
};

TEST_F(Disk, FindsTheLongestPrefixForEveryCut) {
    const auto text = talk(1, 1300);
    const std::vector<std::int64_t> kept = {1, 3, 127, 128, 255, 256, 257, 511, 512, 700, 1024, 1300};
    for (bool reopened : {false, true}) {
        auto tier = open();
        if (!reopened) {
            for (auto n : kept) store(*tier, first(text, n));
            tier->flush();
            EXPECT_EQ(tier->stats().written, static_cast<std::int64_t>(kept.size()));
        }
        for (std::int64_t cut = 0; cut <= 1300; cut += cut < 20 ? 1 : 37) {
            auto other = first(text, cut);
            other.resize(other.size() + 5, 5000);  // another text from here
            std::int64_t expected = 0;
            for (auto n : kept)
                if (n <= cut) expected = n;
            EXPECT_EQ(known(*tier, other), expected) << cut;
        }
        EXPECT_EQ(tier->find("another", text), 0);
        EXPECT_EQ(tier->stats().read_errors, 0);
        EXPECT_EQ(tier->stats().write_errors, 0);
    }
    auto other_model = options();
    other_model.model[3] = std::byte{1};
    EXPECT_EQ(open(other_model)->find("", text), 0);
}

TEST_F(Disk, SharesWhatIsInMemory) {
    const auto text = talk(2, 900);
    auto tier = open();
    store(*tier, text);
    tier->flush();
    for (std::int64_t n : {100, 256, 300, 600, 900}) {
        const auto beginning = state_of(first(text, n)).checkpoint();
        auto state = load(*tier, text, 900, &beginning);
        ASSERT_TRUE(state);
        EXPECT_TRUE(same(*state, state_of(text).checkpoint())) << n;
        EXPECT_TRUE(same(beginning, state_of(first(text, n)).checkpoint())) << n;
        const bool shared =
            state->layers[1].compressed.view().row(0) == beginning.layers[1].compressed.view().row(0);
        EXPECT_EQ(shared, n >= 256) << n;
    }
}

TEST_F(Disk, RowsAreStoredOnce) {
    auto tier = open();
    const auto long_talk = talk(0, 8192), branch = talk(3, 4096);
    auto state = empty_state();
    const KvCodec codec(state);
    std::int64_t rings = 0;
    for (const auto* text : {&long_talk, &branch})
        for (auto n = 1024; n <= static_cast<std::int64_t>(text->size()); n += 1024) {
            store(*tier, first(*text, n));
            rings += codec.rings_bytes(n);
        }
    tier->flush();
    // The two have one whole block in common.
    const auto rows = codec.rows_bytes(0, 8192 + 4096 - 256) - (8192 + 4096 - 256) * 4;
    EXPECT_LE(tier->stats().bytes - rings, rows * 115 / 100);
    const auto before = tier->stats().bytes;
    store(*tier, first(long_talk, 1024));
    tier->flush();
    EXPECT_EQ(tier->stats().bytes, before);
    // A second copy would be some 100 KiB; file systems count blocks of their own in a file's.
    EXPECT_LE(page_bytes(), before + 16384);
}

TEST_F(Disk, KeepsToItsBudget) {
    auto o = options();
    o.budget = 3 << 20;
    o.file_limit = 1 << 20;
    auto tier = open(o);
    const auto precious = talk(900, 2000);
    store(*tier, precious);
    tier->flush();
    for (int i = 0; i < 40; ++i) {
        for (std::int64_t n : {700, 1500}) store(*tier, talk(i, static_cast<std::size_t>(n)));
        tier->flush();
        EXPECT_LE(tier->stats().bytes, o.budget);
        EXPECT_LE(page_bytes(), o.budget * 11 / 10) << i;
        EXPECT_EQ(known(*tier, precious), 2000) << i;  // a use
        EXPECT_EQ(known(*tier, talk(i, 1500)), 1500) << i;
    }
    EXPECT_GT(tier->stats().evictions, 20);
    tier.reset();
    o.budget /= 4;  // a smaller one the next time
    tier = open(o);
    store(*tier, talk(77, 300));
    tier->flush();
    EXPECT_LE(tier->stats().bytes, o.budget);
    EXPECT_LE(page_bytes(), o.budget * 12 / 10);
    EXPECT_EQ(known(*tier, talk(77, 300)), 300);
}

TEST_F(Disk, WhatIsLongUnusedGoesInTheEnd) {
    auto o = options();
    o.budget = 2 << 20;
    auto tier = open(o);
    const auto old = talk(500, 2500);
    store(*tier, old);
    tier->flush();
    int other = 0;
    for (; other < 300 && tier->find("", old) == 2500; ++other) {
        store(*tier, talk(other, 400));
        tier->flush();
    }
    EXPECT_LT(other, 300);
    EXPECT_GT(other, 6);
}

TEST_F(Disk, MidwaySnapshotsGoFirst) {
    auto snapshot = [](std::uint8_t key, std::uint8_t base, std::int64_t length) {
        StoredSnapshot s;
        s.key[0] = std::byte{key};
        s.base[0] = std::byte{base};
        s.length = length;
        s.place.size = 1000;
        s.uses = 1;
        return s;
    };
    auto block = [](std::uint8_t key, std::uint8_t parent) {
        StoredBlock b;
        b.key[0] = std::byte{key};
        b.parent[0] = std::byte{parent};
        b.place.size = 5000;
        return b;
    };
    const std::vector<StoredBlock> blocks = {block(1, 0), block(2, 1), block(3, 2), block(9, 8), block(8, 9)};
    const auto chosen = choose_eviction(
        blocks, {snapshot(30, 3, 800), snapshot(20, 2, 600), snapshot(21, 2, 590)}, {}, 0, 10500);
    EXPECT_EQ(chosen.blocks.size(), 2u);  // those that nobody needs, and which lead in a circle
    ASSERT_EQ(chosen.snapshots.size(), 1u);
    EXPECT_EQ(chosen.snapshots[0].length, 600);  // ten tokens beyond the one before
    EXPECT_GT(chosen.clock, 0);
    EXPECT_EQ(choose_eviction(blocks, {snapshot(30, 3, 800)}, {}, 0, 1 << 20).blocks.size(), 5u);
}

TEST_F(Disk, OneProcessHasTheFolder) {
    auto tier = open();
    try {
        open();
        FAIL();
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), testing::HasSubstr("another process is using it"));
    }
    tier.reset();
    open();
}

TEST_F(Disk, TheFolderIsTheOwnersAlone) {
    auto tier = open();
    store(*tier, talk(1, 300));
    tier->flush();
    auto rights = [](const std::filesystem::path& path) {
        return static_cast<unsigned>(std::filesystem::status(path).permissions());
    };
    EXPECT_EQ(rights(kv()), 0700u);
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kv())) {
        EXPECT_EQ(rights(entry.path()), 0600u) << entry.path();
        ++files;
    }
    EXPECT_GE(files, 3);
    tier.reset();
    std::filesystem::permissions(kv(), std::filesystem::perms(0755));
    EXPECT_THROW(open(), Error);
}

}  // namespace
}  // namespace cachalot
