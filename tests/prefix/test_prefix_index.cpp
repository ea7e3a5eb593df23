// What the tree finds is what a list of everything that was inserted says.
#include "prefix/prefix_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace cachalot {
namespace {

using Tokens = std::vector<std::int32_t>;

// A checkpoint of that length with rings of that many bytes; the tree looks at nothing else.
KvCheckpoint state(std::size_t length, std::size_t bytes = 1000) {
    static const auto pool =
        std::make_shared<KvPool>(KvLayout(Config(), KvPrecision::reference), make_host_device());
    KvCheckpoint saved(pool);
    saved.length = static_cast<std::int64_t>(length);
    saved.rings.resize(bytes);
    return saved;
}

void insert(PrefixIndex& index, const std::string& space, const Tokens& tokens, std::size_t bytes = 1000) {
    index.insert(space, tokens, state(tokens.size(), bytes));
}

Tokens first(const Tokens& tokens, std::size_t n) {
    return {tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(n)};
}

TEST(PrefixIndex, FindsTheDeepestCheckpointForEveryCut) {
    PrefixIndex index;
    Tokens talk(300);
    std::iota(talk.begin(), talk.end(), 10);
    EXPECT_EQ(index.find("", talk).kept(), 0);
    EXPECT_EQ(index.find("", talk).state, nullptr);
    for (std::size_t n : {100, 40, 250}) insert(index, "", first(talk, n));
    for (std::size_t cut = 0; cut <= talk.size(); ++cut) {
        auto other = first(talk, cut);
        other.resize(cut + 3, 7);  // another text from here
        auto match = index.find("", other);
        EXPECT_EQ(match.kept(), cut >= 250 ? 250 : cut >= 100 ? 100 : cut >= 40 ? 40 : 0) << cut;
        EXPECT_EQ(match.shared, static_cast<std::int64_t>(std::min<std::size_t>(cut, 250))) << cut;
        EXPECT_EQ(index.contains("", first(talk, cut)), cut == 40 || cut == 100 || cut == 250) << cut;
    }
    EXPECT_EQ(index.find("", talk).kept(), 250);
    EXPECT_EQ(index.find("another", talk).shared, 0);
    while (index.evict()) {
    }
    EXPECT_EQ(index.find("", talk).shared, 0);
    EXPECT_EQ(index.evictions(), 3);
}

TEST(PrefixIndex, RandomTexts) {
    std::mt19937 random(5);
    auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    for (int round = 0; round < 20; ++round) {
        PrefixIndex index;
        std::map<std::string, std::set<Tokens>> kept;
        auto text = [&] {
            Tokens tokens(1 + below(12));
            for (auto& token : tokens) token = static_cast<std::int32_t>(below(2));  // many common beginnings
            return tokens;
        };
        for (int i = 0; i < 200; ++i) {
            auto space = std::to_string(below(2));
            auto tokens = text();
            if (below(3)) {
                insert(index, space, tokens);
                kept[space].insert(tokens);
            } else if (index.evict()) {
                // Which one is not said: find out.
                for (auto& [s, texts] : kept)
                    std::erase_if(texts, [&, &s = s](const auto& t) { return !index.contains(s, t); });
            }
            ASSERT_EQ(index.size(), kept["0"].size() + kept["1"].size());
            auto wanted = text();
            std::int64_t deepest = 0, shared = 0;
            for (const auto& other : kept[space]) {
                auto same = std::mismatch(other.begin(), other.end(), wanted.begin(), wanted.end()).first -
                            other.begin();
                shared = std::max<std::int64_t>(shared, same);
                if (static_cast<std::size_t>(same) == other.size())
                    deepest = std::max<std::int64_t>(deepest, same);
            }
            auto match = index.find(space, wanted);
            ASSERT_EQ(match.kept(), deepest);
            ASSERT_EQ(match.shared, shared);
        }
    }
}

// Whatever is evicted while a match is held: what it tells of is there until it is let go.
TEST(PrefixIndex, AMatchIsTrueWhileItIsHeld) {
    PrefixIndex index;
    const Tokens talk(400, 1);
    for (std::size_t n : {100, 200, 300}) insert(index, "", first(talk, n));
    for (std::int32_t other = 2; other < 6; ++other) insert(index, "", Tokens(500, other));
    auto match = index.find("", first(talk, 250));
    ASSERT_EQ(match.kept(), 200);
    while (index.evict()) {
    }
    EXPECT_EQ(index.size(), 1u);
    EXPECT_EQ(match.state->length, 200);
    EXPECT_EQ(index.find("", talk).state, match.state);
    match = {};
    EXPECT_TRUE(index.evict());
    EXPECT_FALSE(index.evict());
    EXPECT_EQ(index.find("", talk).kept(), 0);
}

// Only the checkpoint of exactly these tokens is used, and it then outlives one that was worth the same.
TEST(PrefixIndex, AUseIsWorthSomething) {
    PrefixIndex index;
    const Tokens a(500, 1), b(500, 2);
    insert(index, "", a);
    insert(index, "", b);
    index.use("", a);
    index.use("", first(b, 499));
    index.use("another", b);
    const auto before = index.changes();
    EXPECT_TRUE(index.evict());
    EXPECT_TRUE(index.contains("", a));
    EXPECT_FALSE(index.contains("", b));
    EXPECT_NE(index.changes(), before);
}

TEST(PrefixIndex, ShortPromptsGoBeforeConversations) {
    PrefixIndex index;
    Tokens talk(2000, 1);
    insert(index, "", talk);
    // Each is newer than the conversation, and used once.
    for (std::int32_t title = 2; title < 40; ++title) {
        insert(index, "", Tokens(60, title));
        while (index.size() > 4) index.evict();
    }
    EXPECT_TRUE(index.contains("", talk));
}

TEST(PrefixIndex, WhatIsNotUsedGoesInTheEnd) {
    PrefixIndex index;
    Tokens old(2000, 1);
    insert(index, "", old);
    std::int32_t other = 2;
    for (; other < 200 && index.contains("", old); ++other) {
        insert(index, "", Tokens(500, other));
        while (index.size() > 4) index.evict();
    }
    EXPECT_FALSE(index.contains("", old));
    EXPECT_GT(other, 6);
}

}  // namespace
}  // namespace cachalot
