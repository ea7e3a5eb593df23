// The same tokens give the same logits however they are cut into passes, and the state can be forked, saved,
// restored and rolled back exactly.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>

#include "base/error.h"
#include "experts/route_trace.h"
#include "support/each_model.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using test::Golden;

std::vector<float> copy(std::span<const float> v) { return {v.begin(), v.end()}; }

class Chunks : public testing::Test, public test::ForEachModel {
  protected:
    Engine engine = Engine(model(), {2, Precision::exact, KvPrecision::f32});
    std::vector<std::int32_t> ids = Golden::ids("prefix.ids");
    std::size_t vocab = static_cast<std::size_t>(engine.model().config.vocab_size);

    std::span<const float> row(const std::vector<float>& logits, std::size_t i) const {
        return std::span(logits).subspan(i * vocab, vocab);
    }
};

CACHALOT_FOR_MODELS(Chunks, "nano", "nano41", "tiny41");

TEST_P(Chunks, EveryChunkSizeGivesTheLogitsOfSingleSteps) {
    auto stepped_state = engine.new_state();
    auto stepped = test::all_logits(engine, stepped_state, ids, 1);
    for (std::size_t chunk : {3, 64, 65, 66, 128, 500}) {
        // 65 tokens are the most that are computed in place in the rings; a few such chunks are enough
        std::size_t n = chunk == 65 || chunk == 66 ? 300 : ids.size();
        auto state = engine.new_state();
        auto logits = test::all_logits(engine, state, std::span(ids).first(n), chunk);
        EXPECT_LT(test::largest_difference(logits, std::span(stepped).first(logits.size())), 1e-4) << chunk;
    }
    // A pass of any length leaves a state from which the next token continues as if stepped.
    for (std::size_t n : {1,   2,   3,   4,   5,   127, 128, 129, 130, 131, 132,
                          133, 255, 256, 257, 511, 512, 513, 514, 515, 516, 517}) {
        auto state = engine.new_state();
        auto logits = copy(engine.prefill(state, std::span(ids).first(n)));
        EXPECT_LT(test::largest_difference(logits, row(stepped, n - 1)), 1e-4) << n;
        logits = copy(engine.prefill(state, std::span(ids).subspan(n, 1)));
        EXPECT_LT(test::largest_difference(logits, row(stepped, n)), 1e-4) << n << " + 1";
    }
}

TEST_P(Chunks, ExactModeGivesTheSameBits) {
    auto whole_state = engine.new_state(), stepped_state = engine.new_state();
    auto part = std::span(ids).first(300);
    auto whole = test::all_logits(engine, whole_state, part, 300);
    auto stepped = test::all_logits(engine, stepped_state, part, 1);
    EXPECT_EQ(whole, stepped);
}

TEST_P(Chunks, RoundedCachesAreCutIndependentToo) {
    Engine rounded(model(), {2, Precision::exact, KvPrecision::reference});
    auto a = rounded.new_state(), b = rounded.new_state();
    auto part = std::span(ids).first(600);
    EXPECT_EQ(test::all_logits(rounded, a, part, 600), test::all_logits(rounded, b, part, 7));
}

TEST_P(Chunks, SequencesInOneBatchDoNotMeet) {
    auto a = engine.new_state(), b = engine.new_state();
    auto other = Golden::ids("prose.ids");
    auto alone_a = test::all_logits(engine, a, std::span(ids).first(140), 140);
    auto alone_b = test::all_logits(engine, b, std::span(other).first(90), 90);
    auto c = engine.new_state(), d = engine.new_state();
    Batch batch;
    batch.add(c, std::span(ids).first(140), RowsKind::prompt, Batch::Logits::all);
    batch.add(d, std::span(other).first(90), RowsKind::prompt, Batch::Logits::all);
    auto both = copy(engine.step(batch).logits);
    alone_a.insert(alone_a.end(), alone_b.begin(), alone_b.end());
    EXPECT_EQ(both, alone_a);
}

TEST_P(Chunks, RollbackIsExact) {
    for (auto kv : {KvPrecision::f32, KvPrecision::reference}) {
        Engine e(model(), {2, Precision::exact, kv});
        auto state = e.new_state();
        auto expected_state = e.new_state();
        auto expected = test::all_logits(e, expected_state, std::span(ids).first(420), 420);
        e.prefill(state, std::span(ids).first(300));
        // Go forward over wrong tokens across borders of groups and pages, and back, again and again.
        std::vector<std::int32_t> wrong(64, 77);
        for (std::int64_t count : {1, 3, 4, 17, 60, 64}) {
            auto length = state.length();
            for (std::int64_t i = 0; i < count; i += 9)
                e.prefill(state, std::span(wrong).first(
                                     static_cast<std::size_t>(std::min<std::int64_t>(9, count - i))));
            state.rollback(length);
            auto logits =
                copy(e.prefill(state, std::span(ids).subspan(static_cast<std::size_t>(length), 20)));
            EXPECT_EQ(logits, copy(row(expected, static_cast<std::size_t>(length) + 19))) << count;
        }
    }
}

TEST_P(Chunks, RollbackHasALimitThatIsTold) {
    auto state = engine.new_state();
    engine.prefill(state, std::span(ids).first(500));
    EXPECT_EQ(state.rollback_limit(), 500 - kRollback);
    EXPECT_THROW(state.rollback(500 - kRollback - 1), Error);
    EXPECT_THROW(state.rollback(501), Error);
    EXPECT_EQ(state.length(), 500);
    state.rollback(500 - kRollback);
    auto short_state = engine.new_state();
    engine.prefill(short_state, std::span(ids).first(40));
    short_state.rollback(0);
    EXPECT_EQ(copy(engine.prefill(short_state, std::span(ids).first(40))),
              copy(engine.prefill(state = engine.new_state(), std::span(ids).first(40))));
}

TEST_P(Chunks, ForksAndCheckpointsContinueExactlyAndOnTheirOwn) {
    for (auto kv : {KvPrecision::f32, KvPrecision::reference}) {
        Engine e(model(), {2, Precision::exact, kv});
        for (std::size_t n : {5, 128, 130, 600}) {
            auto state = e.new_state();
            e.prefill(state, std::span(ids).first(n));
            auto fork = state.fork();
            auto saved = state.checkpoint();
            auto rest = std::span(ids).subspan(n, 150);
            std::vector<std::int32_t> other(rest.rbegin(), rest.rend());
            auto expected_other = copy(e.prefill(fork, other));  // writes where the original will write
            auto expected = copy(e.prefill(state, rest));
            auto restored = e.new_state();
            e.prefill(restored, std::span(other).first(33));  // a state with a past
            restored.restore(saved);
            EXPECT_EQ(restored.length(), static_cast<std::int64_t>(n));
            EXPECT_EQ(copy(e.prefill(restored, rest)), expected) << n;
            restored.restore(saved);
            EXPECT_EQ(copy(e.prefill(restored, other)), expected_other) << n;
        }
    }
}

// As if the last tokens had been taken back, while the state goes on.
TEST_P(Chunks, CheckpointsOfAMomentAgoAreExact) {
    for (auto kv : {KvPrecision::f32, KvPrecision::reference}) {
        Engine e(model(), {2, Precision::exact, kv});
        auto all = e.new_state();
        auto expected = test::all_logits(e, all, std::span(ids).first(400), 400);
        auto state = e.new_state();
        e.prefill(state, std::span(ids).first(300));
        EXPECT_THROW(state.checkpoint(300 - kRollback - 1), Error);
        EXPECT_THROW(state.checkpoint(301), Error);
        for (std::size_t length : {300, 299, 256, 255, 237, 236}) {
            auto saved = state.checkpoint(static_cast<std::int64_t>(length));
            auto fork = state.fork();
            e.prefill(fork, std::span(ids).subspan(7, 90));  // other rows in the same places
            auto restored = e.new_state();
            restored.restore(saved);
            auto logits = copy(e.prefill(restored, std::span(ids).subspan(length, 400 - length)));
            EXPECT_EQ(logits, copy(row(expected, 399))) << length;
        }
        EXPECT_EQ(copy(e.prefill(state, std::span(ids).subspan(300, 100))), copy(row(expected, 399)));
    }
}

// What is allocated is counted, what is shared once, and nothing stays behind.
TEST_P(Chunks, MemoryIsCounted) {
    Engine e(model(), {2});
    EXPECT_EQ(e.kv_memory().bytes(), 0);
    {
        auto state = e.new_state();
        const auto empty = e.kv_memory().bytes();
        EXPECT_EQ(empty, state.bytes());
        e.prefill(state, std::span(ids).first(1000));
        EXPECT_EQ(e.kv_memory().bytes(), state.bytes());
        EXPECT_EQ(state.bytes(), state.layout().bytes_at(1000));
        auto saved = state.checkpoint();
        EXPECT_EQ(e.kv_memory().bytes(), state.bytes() + static_cast<std::int64_t>(saved.rings.size()));
        EXPECT_LE(static_cast<std::int64_t>(saved.rings.size()), empty);
        EXPECT_EQ(saved.bytes_beyond(nullptr),
                  state.bytes() - empty + static_cast<std::int64_t>(saved.rings.size()));
        const auto before = e.kv_memory().bytes(), most = state.growth(10);
        e.prefill(state, std::span(ids).first(10));
        EXPECT_GT(e.kv_memory().bytes(), before);  // shared pages were copied
        EXPECT_LE(e.kv_memory().bytes() - before, most);
    }
    EXPECT_EQ(e.kv_memory().bytes(), 0);
}

TEST_P(Chunks, ACheckpointOfAnotherPrecisionIsRefused) {
    Engine rounded(model(), {1});
    auto state = engine.new_state();
    engine.prefill(state, std::span(ids).first(10));
    auto other = rounded.new_state();
    EXPECT_THROW(other.restore(state.checkpoint()), Error);
}

TEST(CheckpointSizes, AreSmall) {
    const auto ids = Golden::ids("prefix.ids");
    Engine e(test::nano(), {2});
    auto state = e.new_state();
    e.prefill(state, std::span(ids).first(1024));
    auto saved = state.checkpoint();
    // 8 windows of 127 rows of 200 bytes, and one past group of the overlapping compressors
    EXPECT_EQ(saved.rings.size(), 8u * 127 * 200 + 3 * 2 * 4 * (256 + 256) * 4);
}

TEST_P(Chunks, InputThatCannotBeEvaluatedChangesNothing) {
    Engine small(model(), {1, Precision::exact, KvPrecision::f32, 16, 64});
    auto state = small.new_state();
    small.prefill(state, std::span(ids).first(60));
    EXPECT_THROW(small.prefill(state, std::span(ids).first(5)), Error);
    std::int32_t bad[] = {5, 8192}, negative[] = {-1};
    EXPECT_THROW(small.prefill(state, bad), Error);
    EXPECT_THROW(small.prefill(state, negative), Error);
    EXPECT_EQ(state.length(), 60);
    EXPECT_NO_THROW(small.prefill(state, std::span(ids).first(4)));
    EXPECT_THROW(Engine(model(), {-1}), Error);
    EXPECT_THROW(Engine(model(), {1, Precision::fast, KvPrecision::f32, 16, 1 << 30}), Error);
}

// Conversations are told apart in traces by the ids of their states, since memory is used again.
TEST(StateIds, AreNeverUsedTwice) {
    const Engine engine = test::exact_engine();
    std::set<std::uint64_t> seen;
    std::set<const KvState*> places;
    auto place = std::make_unique<std::optional<KvState>>();
    for (int i = 0; i < 20; ++i) {
        place->emplace(engine.new_state());
        EXPECT_TRUE(seen.insert((*place)->id()).second);
        places.insert(&**place);
    }
    EXPECT_EQ(places.size(), 1u);  // all of them lay there
    KvState first = engine.new_state(), second = first.fork();
    EXPECT_NE(first.id(), second.id());
    const auto id = first.id();
    const KvState moved = std::move(first);
    EXPECT_EQ(moved.id(), id);
    second = moved;
    EXPECT_NE(second.id(), id);
}

TEST(RouteTraces, TellConversationsApartThatUseTheSameMemory) {
    test::TemporaryFolder folder;
    const auto path = (folder.path() / "trace.route").string();
    EngineOptions options{2};
    options.route_trace = path;
    {
        Engine engine(test::nano(), options);
        auto beginning = engine.new_state();
        const std::vector<std::int32_t> tokens = {5, 6, 7};
        engine.prefill(beginning, tokens);
        const auto saved = beginning.checkpoint();
        std::optional<KvState> place;
        for (int i = 0; i < 3; ++i) {  // each continues from what is kept, where the one before was
            place.emplace(engine.new_state());
            place->restore(saved);
            for (int pass = 0; pass < 2; ++pass) engine.step(*place, tokens, RowsKind::prompt);
        }
    }
    std::vector<std::uint32_t> sequences;
    for (const auto& token : read_route_trace(path).tokens) sequences.push_back(token.sequence);
    EXPECT_EQ(sequences,
              (std::vector<std::uint32_t>{0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3}));
}

}  // namespace
}  // namespace cachalot
