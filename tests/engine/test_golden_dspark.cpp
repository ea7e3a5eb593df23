// The drafter beside nano against what an independent implementation computes from the same weights, in
// float32 without rounding: tests/data/nano-dspark-golden.safetensors. Its texts are prompts of nano with
// nano's own answers, and prose. Behind each of many positions the file has the block that is drafted there.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/block_drafter.h"
#include "engine/engine.h"
#include "support/golden_file.h"
#include "support/nano.h"

namespace cachalot {
namespace {

constexpr int kBlock = 5, kProbes = 128,
              kProbeStep = 64;  // logits of the tokens 0, 64, ..., 8128 are in the file

const test::GoldenFile& golden() {
    static const test::GoldenFile file(CACHALOT_TEST_DATA "/nano-dspark-golden.safetensors");
    return file;
}

std::shared_ptr<const Model> nano_with_drafter() {
    static const auto model =
        Model::load(CACHALOT_MODELS "/nano/nano.gguf",
                    {.engram = {}, .drafter = CACHALOT_MODELS "/nano/nano-dspark.gguf"});
    return model;
}

class DsparkGolden : public testing::TestWithParam<const char*> {
  protected:
    static EngineOptions options() {
        EngineOptions options{2, Precision::exact, KvPrecision::f32};
        options.drafter = true;
        return options;
    }
    std::string name(const char* value) const { return std::string(GetParam()) + "." + value; }

    // Blocks are drafted at rising positions: the text up to `position` is read, the token behind it is the
    // first row of the block.
    BlockDrafter::Draft draft_at(int position) {
        while (state_.length() <= position) {
            const auto begin = static_cast<std::size_t>(state_.length());
            engine_.prefill(state_,
                            std::span(ids_).subspan(begin, static_cast<std::size_t>(position + 1) - begin));
        }
        const BlockDrafter::Request request{
            &state_, ids_[static_cast<std::size_t>(position) + 1], kBlock,
            [](std::span<float> logits) -> std::optional<std::int32_t> { return test::argmax(logits); }};
        return drafter_.propose({&request, 1}).front();
    }

    Engine engine_{nano_with_drafter(), options()};
    BlockDrafter drafter_{engine_};
    KvState state_ = engine_.new_state();
    const std::vector<std::int32_t> ids_ = golden().ids(name("ids"));
};

INSTANTIATE_TEST_SUITE_P(Texts, DsparkGolden,
                         testing::Values("capital", "think_sum", "prose", "tool", "retrieval_1k", "val_a",
                                         "val_b"),
                         [](const auto& info) { return info.param; });

TEST_P(DsparkGolden, LogitsTokensAndConfidences) {
    const auto positions = golden().ids(name("pos")), tokens = golden().ids(name("draft_ids"));
    const auto confidences = golden().floats(name("conf"));
    const std::vector<float> logits[] = {golden().floats(name("base_probe")),
                                         golden().floats(name("biased_probe"))};
    for (std::size_t i = 0; i < positions.size(); ++i) {
        SCOPED_TRACE(positions[i]);
        double worst = 0;
        drafter_.observe([&](int, int row, bool biased, std::span<const float> here) {
            const std::size_t first = (i * kBlock + static_cast<std::size_t>(row)) * kProbes;
            for (std::size_t p = 0; p < kProbes; ++p)
                worst = std::max(worst, std::abs(double{here[p * kProbeStep]} - logits[biased][first + p]));
        });
        const auto draft = draft_at(positions[i]);
        EXPECT_LT(worst, 2e-3);
        ASSERT_EQ(std::ssize(draft.tokens), kBlock);
        EXPECT_TRUE(std::ranges::equal(draft.tokens, std::span(tokens).subspan(i * kBlock, kBlock)));
        EXPECT_LT(
            test::largest_difference(draft.confidences, std::span(confidences).subspan(i * kBlock, kBlock)),
            2e-3);
    }
}

// How many tokens of each draft the answer has, when the next draft begins behind what was accepted.
TEST_P(DsparkGolden, AsMuchIsAccepted) {
    const auto positions = golden().ids(name("spec_pos")), accepted = golden().ids(name("spec_accepted"));
    double sum = 0;
    for (std::size_t i = 0; i < positions.size(); ++i) {
        const auto draft = draft_at(positions[i]);
        const auto follows = std::span(ids_).subspan(static_cast<std::size_t>(positions[i]) + 2);
        const auto right = std::ranges::mismatch(draft.tokens, follows).in1 - draft.tokens.begin();
        EXPECT_EQ(right, accepted[i]) << positions[i];
        sum += static_cast<double>(right);
    }
    const double mean = golden().floats(name("mean_accepted")).front();
    EXPECT_NEAR(sum / static_cast<double>(positions.size()), mean, 0.02 * mean);
}

}  // namespace
}  // namespace cachalot
