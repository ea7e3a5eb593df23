// What was written is found again, in this process and the next, and takes no more room than it should.
#include "prefix/disk_tier.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <set>

#include "prefix/disk_eviction.h"
#include "support/disk_states.h"
#include "support/refused_threads.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using namespace test;

class Disk : public testing::Test {
  protected:
    DiskTierOptions options() const { return disk_options(folder.path()); }
    std::unique_ptr<DiskTier> open() const { return open(options()); }
    static std::unique_ptr<DiskTier> open(const DiskTierOptions& o) {
        return std::make_unique<DiskTier>(o, small_pool());
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
        EXPECT_EQ(state->pages.ids()[0] == beginning.pages.ids()[0], n >= 256) << n;
    }
}

TEST_F(Disk, RowsAreStoredOnce) {
    auto tier = open();
    const auto long_talk = talk(0, 8192), branch = talk(3, 4096);
    const KvCodec codec(small_pool());
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

// What choose_eviction() is to choose, with everything asked anew for every snapshot that goes.
Eviction eviction_by_definition(const std::vector<StoredBlock>& blocks, std::vector<StoredSnapshot> left,
                                const ChainKey& wanted, double clock, std::int64_t bytes) {
    auto path = [&](ChainKey key) {  // the blocks up to this one, last first
        std::vector<const StoredBlock*> found;
        for (std::size_t i = 0; i < blocks.size();)
            if (blocks[i].key == key) {
                found.push_back(&blocks[i]);
                key = blocks[i].parent;
                i = 0;
            } else {
                ++i;
            }
        return found;
    };
    auto needed = [&](const StoredSnapshot* but) {
        std::set<ChainKey> keys;
        for (const auto* block : path(wanted)) keys.insert(block->key);
        for (const auto& s : left)
            if (&s != but)
                for (const auto* block : path(s.base)) keys.insert(block->key);
        return keys;
    };
    auto worth = [&](const StoredSnapshot& s) {
        std::int64_t size = s.place.size, before = 0;
        const auto others = needed(&s);
        std::set<ChainKey> bases = {s.root};
        for (const auto* block : path(s.base)) {
            if (!others.contains(block->key)) size += block->place.size;
            bases.insert(block->key);
        }
        for (const auto& other : left)
            if (bases.contains(other.base) && other.length < s.length)
                before = std::max(before, other.length);
        return s.clock + s.uses * static_cast<double>(s.length - before) / static_cast<double>(size);
    };
    Eviction chosen;
    chosen.clock = clock;
    std::set<ChainKey> gone;
    auto sweep = [&] {
        const auto keys = needed(nullptr);
        for (const auto& block : blocks)
            if (!keys.contains(block.key) && gone.insert(block.key).second) {
                chosen.blocks.push_back(block);
                bytes -= block.place.size;
            }
    };
    sweep();
    while (bytes > 0 && !left.empty()) {
        std::vector<double> worths;
        for (const auto& s : left) worths.push_back(worth(s));
        const auto least = std::min_element(worths.begin(), worths.end());
        chosen.clock = std::max(chosen.clock, *least);
        const auto which = left.begin() + (least - worths.begin());
        chosen.snapshots.push_back(*which);
        bytes -= which->place.size;
        left.erase(which);
        sweep();
    }
    return chosen;
}

TEST_F(Disk, EvictionIsWhatItsDefinitionSays) {
    std::mt19937 random(21);
    auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    std::size_t several = 0;
    for (int round = 0; round < 300; ++round) {
        auto name = [](std::size_t number) {
            ChainKey key{};
            key[0] = static_cast<std::byte>(number);
            return key;
        };
        const auto root = name(200);
        std::vector<StoredBlock> blocks;
        std::vector<std::int64_t> depths;
        for (std::size_t i = 0; i < 1 + below(12); ++i) {
            const auto parent = below(i + 1);  // i: the root
            blocks.push_back({name(i),
                              parent == i ? root : name(parent),
                              {1, 0, static_cast<std::int64_t>(1 + below(4) * 500)}});
            depths.push_back(parent == i ? 1 : depths[parent] + 1);
        }
        std::vector<StoredSnapshot> snapshots;
        for (std::size_t i = 0; i < below(14); ++i) {
            StoredSnapshot s;
            s.key = name(100 + i);
            const auto base = below(blocks.size() + 1);
            s.base = base == blocks.size() ? root : blocks[base].key;
            s.root = root;
            s.length =
                (base == blocks.size() ? 0 : depths[base] * 256) + static_cast<std::int64_t>(1 + below(4));
            s.place.size = static_cast<std::int64_t>(1 + below(3) * 700);
            s.uses = static_cast<double>(1 + below(3));
            s.clock = static_cast<double>(below(3)) / 8;
            snapshots.push_back(s);
        }
        const auto wanted = below(2) ? ChainKey{} : name(below(blocks.size()));
        const auto bytes = static_cast<std::int64_t>(below(12000));
        const auto got = choose_eviction(blocks, snapshots, wanted, 0.25, bytes);
        const auto expected = eviction_by_definition(blocks, snapshots, wanted, 0.25, bytes);
        auto keys = [](const auto& records) {
            std::vector<ChainKey> all;
            for (const auto& record : records) all.push_back(record.key);
            return all;
        };
        auto sorted = [&](const auto& records) {
            auto all = keys(records);
            std::sort(all.begin(), all.end());
            return all;
        };
        EXPECT_EQ(keys(got.snapshots), keys(expected.snapshots)) << round;
        EXPECT_EQ(sorted(got.blocks), sorted(expected.blocks)) << round;
        EXPECT_EQ(got.clock, expected.clock);
        several += got.snapshots.size() > 2;
    }
    EXPECT_GT(several, 50u);
}

// Of ten thousand, half: asking all of them for each that goes took some minutes.
TEST_F(Disk, EvictionOfThousandsIsQuick) {
    auto name = [](std::uint64_t number) {
        ChainKey key{};
        std::memcpy(key.data(), &number, sizeof number);
        return key;
    };
    std::vector<StoredBlock> blocks;
    std::vector<StoredSnapshot> snapshots;
    for (std::uint64_t i = 0; i < 10'000; ++i) {
        StoredSnapshot s;
        s.key = name(1'000'000 + i);
        s.place.size = 1000;
        s.uses = 1 + static_cast<double>(i % 5);
        if (i % 2) {
            blocks.push_back({name(1 + i), i % 100 == 1 ? name(0) : name(i - 1), {1, 0, 1000}});
            s.base = name(1 + i);
            s.length = 256 * static_cast<std::int64_t>(i % 100 / 2 + 1) + 7;
        } else {
            s.length = 1 + static_cast<std::int64_t>(i % 255);
        }
        s.root = name(0);
        if (i % 2 == 0) s.base = name(0);
        snapshots.push_back(s);
    }
    const auto start = std::chrono::steady_clock::now();
    const auto chosen = choose_eviction(blocks, snapshots, {}, 0, 7'500'000);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    EXPECT_GT(chosen.snapshots.size(), 3000u);
    EXPECT_LT(taken.count(), 10);
    RecordProperty("milliseconds", static_cast<int>(taken.count() * 1000));
}

// However many prompts share a beginning, only so many lengths are asked for as a block has tokens.
TEST_F(Disk, ManyShortPromptsDoNotSlowDownWhoeverAsks) {
    auto tier = open();
    const auto one = talk(1, 250);
    store(*tier, first(one, 40));
    for (int i = 0; i < 2000; ++i) {
        auto other = talk(1, 250);
        other.resize(static_cast<std::size_t>(20 + i % 200));
        other[0] = 2000 + i;  // each its own
        store(*tier, other);
        if (i % 50 == 0) tier->flush();
    }
    tier->flush();
    EXPECT_EQ(tier->stats().written, 2001);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 100; ++i) EXPECT_EQ(tier->find("", one), 40);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    RecordProperty("microseconds_each", static_cast<int>(taken.count() * 1e4));
    EXPECT_EQ(known(*tier, one), 40);
}

#if defined(CACHALOT_CAN_REFUSE_THREADS)
TEST_F(Disk, AThreadThatIsRefusedIsAnError) {
    store(*open(), talk(1, 600));
    for (int given : {0, 1}) {
        const RefusedThreads limit(given);
        try {
            open();
            ADD_FAILURE() << "no Error was thrown";
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), testing::HasSubstr("thread"));
        }
    }
    EXPECT_EQ(known(*open(), talk(1, 600)), 600);
}
#endif

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
