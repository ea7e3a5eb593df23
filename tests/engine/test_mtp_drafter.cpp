// The block for multi-token prediction of nano's preview against what an independent implementation computes
// in float32 from the same weights, three tokens deep.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/mtp_drafter.h"
#include "sampling/logprobs.h"
#include "support/golden_file.h"
#include "support/nano.h"

namespace cachalot {
namespace {

constexpr double kTolerance = 2e-3;

const test::GoldenFile& golden() {
    static const test::GoldenFile file(CACHALOT_TEST_DATA "/nano-mtp-golden.safetensors");
    return file;
}

std::int32_t best_of(std::span<float> logits) { return test::argmax(logits); }

Engine float_engine() {
    EngineOptions options{2, Precision::exact, KvPrecision::f32};
    options.drafter = true;
    return Engine(test::nano_mtp(), options);
}

class MtpDrafterGolden : public testing::TestWithParam<const char*> {
  protected:
    using Tokens = std::vector<std::int32_t>;
    struct Drafted {
        Tokens tokens;
        std::vector<std::vector<float>> logits;  // [tokens][vocab]
        std::vector<float> confidences;
    };

    Tokens ids(const char* what) const { return golden().ids(name() + what); }
    std::vector<float> floats(const char* what) const { return golden().floats(name() + what); }
    static std::string name() { return GetParam(); }

    // Behind each of these positions, in one walk through the text: the token there is the newest but one.
    std::map<int, Drafted> drafts_at(const std::set<int>& positions) const {
        Engine engine = float_engine();
        MtpDrafter drafter(engine);
        std::map<int, Drafted> all;
        Drafted* here = nullptr;
        drafter.observe([&](int, int row, bool, std::span<const float> logits) {
            ASSERT_EQ(row, std::ssize(here->logits));
            here->logits.emplace_back(logits.begin(), logits.end());
        });
        const Tokens text = ids(".ids");
        auto state = engine.new_state();
        for (const int t : positions) {
            const auto known = static_cast<std::size_t>(state.length()),
                       wanted = static_cast<std::size_t>(t) + 1;
            engine.prefill(state, std::span(text).subspan(known, wanted - known));
            here = &all[t];
            const ModelDrafter::Request request{&state, text[wanted], drafter.block_size(), best_of};
            auto [tokens, confidences] = drafter.propose({&request, 1}).front();
            here->tokens = std::move(tokens);
            here->confidences = std::move(confidences);
        }
        return all;
    }

    // How many of the tokens drafted behind position t are those of the text.
    static int accepted(const Drafted& draft, const Tokens& text, int t) {
        const auto first = std::min(text.size(), static_cast<std::size_t>(t) + 2);
        const auto rest = std::span(text).subspan(first);
        return static_cast<int>(std::ranges::mismatch(draft.tokens, rest).in1 - draft.tokens.begin());
    }
};

INSTANTIATE_TEST_SUITE_P(Texts, MtpDrafterGolden,
                         testing::Values("capital", "think_sum", "prose", "tool", "retrieval_1k", "val_a",
                                         "val_b"));

TEST_P(MtpDrafterGolden, DraftsWhatTheReferenceDrafts) {
    const Tokens text = ids(".ids"), positions = ids(".pos"), expected = ids(".draft_ids"),
                 right = ids(".accepted");
    const auto probe = floats(".probe"), lse = floats(".lse"), top = floats(".top");
    const auto drafts = drafts_at({positions.begin(), positions.end()});
    double worst = 0;
    for (std::size_t i = 0; i < positions.size(); ++i) {
        SCOPED_TRACE(positions[i]);
        const Drafted& draft = drafts.at(positions[i]);
        ASSERT_EQ(draft.tokens, Tokens(expected.begin() + std::ptrdiff_t(i) * kMtpDepth,
                                       expected.begin() + std::ptrdiff_t(i + 1) * kMtpDepth));
        EXPECT_EQ(accepted(draft, text, positions[i]), right[i]);
        for (std::size_t depth = 0; depth < draft.logits.size(); ++depth) {
            const std::vector<float>& logits = draft.logits[depth];
            const std::size_t at = i * kMtpDepth + depth;
            EXPECT_NEAR(log_sum_exp(logits), lse[at], kTolerance);
            EXPECT_NEAR(*std::ranges::max_element(logits), top[at], kTolerance);
            for (std::size_t v = 0; v < 128; ++v)
                worst = std::max(worst, std::abs(double{logits[v * 64]} - probe[at * 128 + v]));
            const double p = std::exp(double{top[at]} - lse[at]);
            EXPECT_NEAR(1 / (1 + std::exp(-draft.confidences[depth])), p, kTolerance);
        }
    }
    EXPECT_LT(worst, kTolerance);
    if (!golden().has(name() + ".full_pos")) return;
    const auto full = floats(".full_logits");
    const auto vocab = std::ssize(drafts.begin()->second.logits.front());
    const Drafted& draft = drafts.at(ids(".full_pos").front());
    for (std::ptrdiff_t depth = 0; depth < kMtpDepth; ++depth)
        EXPECT_LT(test::largest_difference(draft.logits[static_cast<std::size_t>(depth)],
                                           std::span(full).subspan(static_cast<std::size_t>(depth * vocab),
                                                                   static_cast<std::size_t>(vocab))),
                  kTolerance);
}

// The text behind the prompt as greedy drafting goes through it.
TEST_P(MtpDrafterGolden, AsManyTokensAreRightAsInTheReference) {
    const Tokens text = ids(".ids"), positions = ids(".spec_pos"), expected = ids(".spec_accepted");
    const auto drafts = drafts_at({positions.begin(), positions.end()});
    Tokens visited, right;
    for (int t = ids(".prompt_len").front() - 1; t + 2 < std::ssize(text); t += right.back() + 1) {
        ASSERT_TRUE(drafts.contains(t));
        visited.push_back(t);
        right.push_back(accepted(drafts.at(t), text, t));
    }
    EXPECT_EQ(visited, positions);
    EXPECT_EQ(right, expected);
    double sum = 0;
    for (int count : right) sum += count;
    EXPECT_NEAR(sum / static_cast<double>(right.size()), floats(".mean_accepted").front(), 1e-5);
}

// What the passes leave for the block: the streams behind the last layer, and the window's rows. The
// reference rotates a row to the place of the token before, so the rotated pairs are compared by their
// lengths.
TEST(MtpDrafterStates, HoldTheStreamsAndRowsOfTheReference) {
    const auto streams = golden().floats("capital.streams"), rows = golden().floats("capital.ring");
    const auto text = golden().ids("capital.ids");
    Engine engine = float_engine();
    const Config& c = engine.model().config;
    const auto n = static_cast<std::size_t>(golden().ids("capital.prompt_len").front());
    auto state = engine.new_state();
    engine.prefill(state, std::span(text).first(n + 1));
    const LayerLayout& block = state.layout().draft_stages().front();
    const auto size = static_cast<std::size_t>(c.head_dim),
               plain = size - static_cast<std::size_t>(c.rope_dim);
    for (std::size_t t = 0; t < n; ++t) {
        SCOPED_TRACE(t);
        const auto width = static_cast<std::size_t>(kStreams * c.hidden_size);
        const auto p = static_cast<std::int64_t>(t);
        EXPECT_LT(test::largest_difference({block.streams.view(state.slab().address()).floats(p), width},
                                           std::span(streams).subspan(t * width, width)),
                  kTolerance);
        const std::span<const float> row(block.window.view(state.slab().address()).floats(p + 1), size);
        const auto expected = std::span(rows).subspan(t * size, size);
        EXPECT_LT(test::largest_difference(row.first(plain), expected.first(plain)), kTolerance);
        for (std::size_t i = plain; i < size; i += 2)
            EXPECT_NEAR(std::hypot(row[i], row[i + 1]), std::hypot(expected[i], expected[i + 1]), kTolerance);
    }
}

// Without the streams in front of the newest token there is nothing to begin with.
TEST(MtpDrafterStates, WithoutStreamsNothingIsDrafted) {
    Engine engine = float_engine();
    MtpDrafter drafter(engine);
    auto empty = engine.new_state(), known = engine.new_state();
    engine.prefill(known, std::vector<std::int32_t>{0});
    const ModelDrafter::Request requests[] = {{&empty, 5, 3, best_of}, {&known, 5, 3, best_of}};
    const auto drafts = drafter.propose(requests);
    EXPECT_TRUE(drafts[0].tokens.empty());
    EXPECT_EQ(std::ssize(drafts[1].tokens), kMtpDepth);
}

// No pass is made for a token that is not worth it; the others go on.
TEST(MtpDrafterStates, StopsWhereOneMoreTokenIsNotWorthIt) {
    Engine engine = float_engine();
    MtpDrafter drafter(engine);
    std::vector<KvState> states;
    std::vector<ModelDrafter::Request> requests;
    for (int i = 0; i < 3; ++i) states.push_back(engine.new_state());
    for (auto& state : states) {
        engine.prefill(state, std::vector<std::int32_t>{0, 671, 6102});
        requests.push_back({&state, 294, 3, best_of});
    }
    const auto whole = drafter.propose(requests);
    std::vector<std::size_t> asked;
    requests[1].goes_on = [&](std::span<const float> confidences) {
        asked.push_back(confidences.size());
        return confidences.size() < 2;
    };
    requests[2].goes_on = [](std::span<const float>) { return false; };
    std::vector<int> rows(requests.size());
    drafter.observe(
        [&](int request, int, bool, std::span<const float>) { ++rows[static_cast<std::size_t>(request)]; });
    const auto drafts = drafter.propose(requests);
    EXPECT_EQ(rows, (std::vector<int>{3, 2, 1}));
    EXPECT_EQ(asked, (std::vector<std::size_t>{1, 2}));
    for (std::size_t i = 0; i < drafts.size(); ++i) {
        EXPECT_EQ(drafts[i].tokens.size(), 3 - i);
        EXPECT_TRUE(std::ranges::equal(drafts[i].tokens, std::span(whole[i].tokens).first(3 - i)));
    }
}

}  // namespace
}  // namespace cachalot
