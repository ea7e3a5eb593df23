#include "measure/divergence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "file/support.h"
#include "kernels/random_data.h"
#include "measure/text_windows.h"
#include "support/nano.h"

namespace cachalot {
namespace {

using testing::HasSubstr;

TEST(BlockMean, IsTheMeanAndItsIntervalCoversIt) {
    test::RandomData random(1);
    int covered = 0;
    for (int text = 0; text < 100; ++text) {
        BlockMean mean;
        double sum = 0;
        for (int i = 0; i < 2000; ++i) {
            if (i % 500 == 0) mean.begin_window();
            const double value = 3 + random.normal();
            sum += value;
            mean.add(value);
        }
        const Mean m = mean.mean();
        EXPECT_NEAR(m.value, sum / 2000, 1e-12);
        ASSERT_TRUE(m.interval);
        EXPECT_NEAR(m.interval->high - m.interval->low, 2 * 1.96 / std::sqrt(2000), 0.04);
        covered += m.interval->low < 3 && 3 < m.interval->high;
    }
    EXPECT_GE(covered, 85);
    EXPECT_LE(covered, 99);
}

// What resembles its neighbour is less evidence than as many independent values.
TEST(BlockMean, NeighboursThatAreAlikeWidenTheInterval) {
    test::RandomData random(2);
    BlockMean apart, alike;
    float passage = 0;
    for (int i = 0; i < 4096; ++i) {
        if (i % 64 == 0) passage = random.normal();
        apart.add(random.normal());
        alike.add(passage);
    }
    auto width = [](const Mean& m) { return m.interval->high - m.interval->low; };
    EXPECT_GT(width(alike.mean()), 4 * width(apart.mean()));
}

TEST(BlockMean, FewBlocksHaveNoInterval) {
    BlockMean mean;
    for (int i = 0; i < 7 * 64; ++i) mean.add(1);
    EXPECT_FALSE(mean.mean().interval);
    mean.add(1);
    EXPECT_TRUE(mean.mean().interval);
    EXPECT_EQ(BlockMean().mean().value, 0);
}

TEST(Quantile, IsAValueThatTheShareDoesNotExceed) {
    const std::vector<double> v = {1, 2, 3, 4};
    EXPECT_EQ(quantile(v, 0), 1);
    EXPECT_EQ(quantile(v, 0.25), 1);
    EXPECT_EQ(quantile(v, 0.26), 2);
    EXPECT_EQ(quantile(v, 0.5), 2);
    EXPECT_EQ(quantile(v, 1), 4);
}

std::vector<double> probabilities(std::span<const float> logits) {
    const double norm = log_sum_exp(logits);
    std::vector<double> p;
    for (float x : logits) p.push_back(std::exp(x - norm));
    return p;
}

double exact_kl(std::span<const float> a, std::span<const float> b) {
    const auto p = probabilities(a), q = probabilities(b);
    double kl = 0;
    for (std::size_t i = 0; i < p.size(); ++i)
        if (p[i] > 0) kl += p[i] * std::log(p[i] / q[i]);
    return kl;
}

SavedText text_of(std::int32_t vocab, std::vector<std::int32_t> ids, std::uint32_t window) {
    return {"model.gguf", "text.txt", vocab, hash128({}), window, std::move(ids)};
}

// Writes rows of logits and reads them again.
std::vector<SavedRow> through_file(const TempDir& dir, const SavedText& text,
                                   const std::vector<std::vector<float>>& logits) {
    SavedLogitsWriter writer(dir / "saved", text);
    std::size_t row = 0;
    for (const auto window : text_windows(text.ids, text.window))
        for (std::size_t i = 0; i < predictions(window); ++i)
            writer.add(SavedRow::of(logits[row++], window[i + 1]));
    writer.finish();
    SavedLogits saved(dir / "saved");
    EXPECT_EQ(saved.rows(), logits.size());
    EXPECT_EQ(saved.text().ids, text.ids);
    EXPECT_EQ(saved.text().model, text.model);
    EXPECT_EQ(saved.text().window, text.window);
    std::vector<SavedRow> rows;
    while (rows.size() < saved.rows()) rows.push_back(saved.next());
    return rows;
}

// From nearly certain to nearly uniform: the divergence over a file is that of the logits.
TEST(SavedLogits, KeepWhatADivergenceNeeds) {
    const TempDir dir;
    test::RandomData random(5);
    constexpr int kVocab = 3000;
    std::vector<std::vector<float>> a;
    std::vector<std::int32_t> ids = {7};
    for (float scale : {0.01f, 0.5f, 1.f, 2.f, 3.f, 5.f, 10.f, 30.f}) {
        a.push_back(random.vector(kVocab, scale));
        ids.push_back(random.integer(0, kVocab - 1));
    }
    a.push_back(std::vector<float>(kVocab, -std::numeric_limits<float>::infinity()));
    a.back()[5] = 1;  // certain
    ids.push_back(5);
    const auto rows = through_file(dir, text_of(kVocab, ids, 100), a);
    for (std::size_t r = 0; r < rows.size(); ++r) {
        const auto next = ids[r + 1];
        const auto p = probabilities(a[r]);
        EXPECT_NEAR(rows[r].next, std::log(p[static_cast<std::size_t>(next)]),
                    1e-5 + 1e-6 * std::fabs(rows[r].next));
        double kept = std::exp(rows[r].rest);
        for (const auto& t : rows[r].kept) {
            EXPECT_NEAR(t.logprob, std::log(p[static_cast<std::size_t>(t.token)]), 2e-4);
            kept += std::exp(t.logprob);
        }
        EXPECT_NEAR(kept, 1, 1e-4);
        EXPECT_LE(std::exp(rows[r].rest), SavedRow::kRest * (1 + 1e-6));
        EXPECT_EQ(rows[r].kept.front().token, test::argmax(a[r]));
        // Of itself, and of something near.
        EXPECT_NEAR(diverge(rows[r], next, a[r]).kl, 0, 1e-5);
        EXPECT_TRUE(diverge(rows[r], next, a[r]).same_top);
        if (r + 1 == rows.size()) continue;
        auto b = a[r];
        for (float& x : b) x += random.normal(0.1f);
        const auto d = diverge(rows[r], next, b);
        EXPECT_NEAR(d.kl, exact_kl(a[r], b), 1e-5 + 1e-3 * exact_kl(a[r], b)) << r;
        EXPECT_NEAR(d.nll_b, -std::log(probabilities(b)[static_cast<std::size_t>(next)]), 1e-9);
    }
    EXPECT_LT(rows[7].kept.size(), 100u);
}

TEST(SavedLogits, DamageIsAnError) {
    const TempDir dir;
    test::RandomData random(6);
    std::vector<std::vector<float>> logits;
    std::vector<std::int32_t> ids = {1, 2, 3, 4, 5, 6};
    for (int i = 0; i < 4; ++i) logits.push_back(random.vector(50, 3));
    through_file(dir, text_of(50, ids, 3), logits);
    const auto bytes = read_file(dir / "saved");
    auto read = [](std::string_view text) {
        auto saved = SavedLogits::parse(bytes_of(text), "s");
        for (std::size_t i = 0; i < saved.rows(); ++i) saved.next();
    };
    read(bytes);
    for (std::size_t size = 0; size < bytes.size(); ++size)
        EXPECT_THROW(read(std::string_view(bytes).substr(0, size)), Error) << size;
    // Any change is noticed; one whose author has fitted the hash is refused or read, but does no harm.
    int refused = 0;
    for (std::size_t at = 0; at + 16 < bytes.size(); ++at)
        for (int bit : {0, 3, 7}) {
            auto changed = bytes;
            changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
            EXPECT_THROW(read(changed), Error);
            const std::string body = changed.substr(0, changed.size() - 16);
            std::string hashed(16, '\0');
            hashed += body;
            const auto hash = hash128(bytes_of(hashed));
            std::copy(hash.begin(), hash.end(), reinterpret_cast<std::byte*>(changed.data() + body.size()));
            try {
                read(changed);
            } catch (const Error&) {
                ++refused;
            }
        }
    EXPECT_GT(refused, 300);
}

TEST(Comparer, SumsUpByPosition) {
    Comparer comparer;
    comparer.begin_window();
    for (std::size_t i = 0; i < 9; ++i) comparer.add(i, {1, 1.5, i == 8 ? 0.9 : 0.1, i % 2 == 0});
    const auto c = comparer.result();
    EXPECT_EQ(c.tokens, 9);
    EXPECT_DOUBLE_EQ(c.nll_difference.value, 0.5);
    EXPECT_DOUBLE_EQ(c.kl_median, 0.1);
    EXPECT_DOUBLE_EQ(c.kl_max, 0.9);
    EXPECT_DOUBLE_EQ(c.same_top.value, 5. / 9);
    ASSERT_EQ(c.by_position.size(), 5u);
    EXPECT_EQ(c.by_position[3].first, 4);
    EXPECT_EQ(c.by_position[3].last, 7);
    EXPECT_EQ(c.by_position[3].tokens, 4);
    EXPECT_DOUBLE_EQ(c.by_position[3].same_top, 0.5);
    EXPECT_EQ(c.by_position[4].tokens, 1);
    EXPECT_DOUBLE_EQ(c.by_position[4].kl, 0.9);
}

// The same model through a file, and the loss that the file itself causes, where the truth is known: int8
// activations against float32.
TEST(SavedLogits, CostAlmostNothingOnNano) {
    const TempDir dir;
    auto ids = test::Golden::ids("val.ids");
    ids.resize(257);
    auto exact = test::exact_engine();
    Engine fast(test::nano(), {2});
    auto logits_of = [&](Engine& engine) {
        std::vector<std::vector<float>> all;
        evaluate_window(engine, ids,
                        [&](auto, std::span<const float> row) { all.emplace_back(row.begin(), row.end()); });
        return all;
    };
    const auto a = logits_of(exact), b = logits_of(fast);
    const auto text = saved_text(*test::nano(), "val", ids, 4096);
    const auto rows = through_file(dir, text, a);
    double worst = 0, sum = 0, exact_sum = 0, itself = 0;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const double kl = diverge(rows[i], ids[i + 1], b[i]).kl, truth = exact_kl(a[i], b[i]);
        worst = std::max(worst, std::fabs(kl - truth));
        itself = std::max(itself, std::fabs(diverge(rows[i], ids[i + 1], a[i]).kl));
        sum += kl;
        exact_sum += truth;
        kept += rows[i].kept.size();
    }
    const auto n = static_cast<double>(rows.size());
    RecordProperty(
        "result",
        fmt::format("KL {} exact, {} over the file, largest error {}, of itself {}; {} tokens and {} "
                    "bytes a row",
                    exact_sum / n, sum / n, worst, itself, static_cast<double>(kept) / n,
                    static_cast<double>(std::filesystem::file_size(dir / "saved")) / n));
    EXPECT_GT(exact_sum / n, 1e-6);
    EXPECT_NEAR(sum / n, exact_sum / n, 0.01 * exact_sum / n + 1e-6);
    EXPECT_LT(worst, 1e-4);
    EXPECT_LT(itself, 1e-5);
}

}  // namespace
}  // namespace cachalot
