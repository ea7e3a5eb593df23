#include "text/tokenizer_bpe.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>
#include <optional>

namespace cachalot {
namespace {

std::vector<std::int32_t> merge(const MergeTable& table, const std::vector<std::int32_t>& ids) {
    std::vector<std::int32_t> out;
    Merger(table).merge(ids, out);
    return out;
}

// The definition: look at all pairs, merge the leftmost one of lowest rank, start again.
std::vector<std::int32_t> merge_by_definition(const MergeTable& table, std::vector<std::int32_t> ids) {
    while (true) {
        std::optional<std::uint32_t> best;
        std::size_t at = 0;
        for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
            const auto rank = table.rank(ids[i], ids[i + 1]);
            if (rank && (!best || *rank < *best)) best = rank, at = i;
        }
        if (!best) return ids;
        ids[at] = table[*best].result;
        ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
}

TEST(Merger, LowestRankThenLeftmost) {
    const MergeTable table({{1, 2, 3}, {0, 1, 4}, {0, 0, 5}}, 6);
    EXPECT_EQ(merge(table, {0, 1, 2}), (std::vector<std::int32_t>{0, 3}));
    EXPECT_EQ(merge(table, {0, 0, 0}), (std::vector<std::int32_t>{5, 0}));
    EXPECT_EQ(merge(table, {}), (std::vector<std::int32_t>{}));
    EXPECT_EQ(merge(table, {2}), (std::vector<std::int32_t>{2}));
}

TEST(MergeTable, KnowsItsPairsOnly) {
    const MergeTable table({{1, 2, 3}, {1, 0, 4}, {0, 4, 5}}, 6);
    EXPECT_EQ(table.rank(1, 2), 0u);
    EXPECT_EQ(table.rank(1, 0), 1u);
    EXPECT_EQ(table.rank(0, 4), 2u);
    EXPECT_EQ(table.rank(2, 1), std::nullopt);
    EXPECT_EQ(table.rank(5, 5), std::nullopt);
}

// Random merges over three letters. Results are made new tokens, as in any real vocabulary.
RC_GTEST_PROP(Merger, AgreesWithTheDefinition, ()) {
    std::vector<Merge> merges;
    std::int32_t vocab = 3;
    for (int i = *rc::gen::inRange(0, 12); i > 0; --i) {
        const Merge m{*rc::gen::inRange(0, vocab), *rc::gen::inRange(0, vocab), vocab};
        const bool known = std::any_of(merges.begin(), merges.end(), [&](const Merge& o) {
            return o.left == m.left && o.right == m.right;
        });
        if (known) continue;
        merges.push_back(m);
        ++vocab;
    }
    // The order of rank need not be that in which the tokens were made.
    for (std::size_t i = merges.size(); i > 1; --i)
        std::swap(merges[i - 1], merges[*rc::gen::inRange<std::size_t>(0, i)]);
    const MergeTable table(merges, static_cast<std::size_t>(vocab));
    const auto ids = *rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(0, 3));
    RC_ASSERT(merge(table, ids) == merge_by_definition(table, ids));
}

}  // namespace
}  // namespace cachalot
