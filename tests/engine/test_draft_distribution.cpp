// Drafts change no distribution: tokens that are drafted, verified and drawn again and again have the shares
// that the model gives them.
#include <array>
#include <cmath>
#include <map>

#include "engine/model_drafter.h"
#include "engine/scheduler_test.h"
#include "support/each_model.h"

namespace cachalot {
namespace {

using test::Tokens;

constexpr int kDraws = 50'000;
constexpr std::size_t kWritten = 3;  // tokens of an answer

// Logits of a model and of its drafter behind a text and some tokens more; each is computed once.
class RememberedLogits {
  public:
    RememberedLogits(Engine& engine, const Tokens& prompt)
        : engine_(engine), drafter_(make_model_drafter(engine)), state_(engine.new_state()) {
        const std::span<const std::int32_t> all = prompt;
        engine.prefill(state_, all.first(all.size() - 1));
        newest_ = prompt.back();
    }

    // Of the token behind these.
    const std::vector<float>& model(const Tokens& behind) {
        auto& logits = model_[behind];
        if (logits.empty()) {
            KvState state = state_.fork();
            const auto row = engine_.step(state, test::joined({newest_}, behind), RowsKind::prompt);
            logits.assign(row.begin(), row.end());
        }
        return logits;
    }

    // Of the token behind `drafted`, where `behind` are known.
    const std::vector<float>& drafter(const Tokens& behind, const Tokens& drafted) {
        auto& logits = drafter_logits_[{behind, drafted}];
        if (!logits.empty()) return logits;
        KvState state = state_.fork();
        const Tokens known = test::joined({newest_}, behind);
        if (known.size() > 1) engine_.step(state, test::part(known, 0, known.size() - 1), RowsKind::prompt);
        std::size_t at = 0;
        auto choose = [&](std::span<float> here) -> std::optional<std::int32_t> {
            if (at < drafted.size()) return drafted[at++];
            logits.assign(here.begin(), here.end());
            return {};
        };
        const ModelDrafter::Request request{&state, known.back(), static_cast<int>(drafted.size()) + 1,
                                            choose};
        drafter_->propose({&request, 1});
        return logits;
    }

  private:
    Engine& engine_;
    std::unique_ptr<ModelDrafter> drafter_;
    KvState state_;
    std::int32_t newest_;
    std::map<Tokens, std::vector<float>> model_;
    std::map<std::pair<Tokens, Tokens>, std::vector<float>> drafter_logits_;
};

SamplingOptions wide() {
    SamplingOptions options;
    options.temperature = 1.5f;
    options.top_k = 6;
    return options;
}

// The softmax of the best tokens.
std::map<std::int32_t, double> shares(const std::vector<float>& logits) {
    std::vector<std::int32_t> order(logits.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
    const auto logit = [&](std::int32_t token) { return logits[static_cast<std::size_t>(token)]; };
    std::ranges::partial_sort(order, order.begin() + wide().top_k, [&](std::int32_t a, std::int32_t b) {
        return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
    });
    std::map<std::int32_t, double> result;
    double total = 0;
    for (int i = 0; i < wide().top_k; ++i)
        total += result[order[static_cast<std::size_t>(i)]] =
            std::exp(double{logit(order[static_cast<std::size_t>(i)])} / wide().temperature);
    for (auto& [token, share] : result) share /= total;
    return result;
}

// By how many standard deviations a chi-square is above its mean. What is too rare is counted together.
template <class Key>
double excess(const std::map<Key, double>& expected, const std::map<Key, int>& seen) {
    for (const auto& [key, count] : seen)
        if (!expected.contains(key)) return HUGE_VAL;
    double chi_square = 0, rest_expected = 0, rest_seen = 0;
    int cells = 0;
    auto add = [&](double mean, double count) {
        chi_square += (count - mean) * (count - mean) / mean;
        ++cells;
    };
    for (const auto& [key, share] : expected) {
        const double mean = share * kDraws, count = seen.contains(key) ? seen.at(key) : 0;
        if (mean >= 10) {
            add(mean, count);
        } else {
            rest_expected += mean;
            rest_seen += count;
        }
    }
    if (rest_expected >= 10) add(rest_expected, rest_seen);
    const double degrees = std::max(1, cells - 1);
    return (chi_square - degrees) / std::sqrt(2 * degrees);
}

class DraftDistribution : public test::SchedulerTest, public test::ForEachModel {
  protected:
    struct Drawn {
        Tokens tokens;                             // of the answer
        std::optional<std::int32_t> drafted = {};  // for the first of them
        int accepted = 0, rejected = 0;
    };

    // As the scheduler drafts and verifies (ask_drafter, choose).
    static Drawn draw(const Engine& engine, RememberedLogits& logits, const Tokens& prompt,
                      std::uint64_t seed) {
        GenerationOptions how;
        how.sampling = wide();
        how.sampling.seed = seed;
        how.max_tokens = kWritten;
        how.ignore_eos = true;
        Generation generation(engine, prompt, how);
        generation.mark_evaluated(prompt.size());
        Drawn drawn;
        while (!generation.finished()) {
            const Tokens behind =
                test::part(generation.tokens(), prompt.size(), generation.completion_tokens());
            Tokens draft;
            {
                Generation::Guess guess(generation);
                while (draft.size() + 1 < generation.left()) {
                    auto copy = logits.drafter(behind, draft);
                    const auto token = guess.next(copy);
                    if (!token) break;
                    draft.push_back(*token);
                }
            }
            if (behind.empty()) drawn.drafted = draft.front();
            std::vector<float> rows;
            for (std::size_t i = 0; i <= draft.size(); ++i) {
                const auto& row = logits.model(test::joined(behind, test::part(draft, 0, i)));
                rows.insert(rows.end(), row.begin(), row.end());
            }
            generation.mark_evaluated(generation.pending().size());
            const int accepted = generation.verify(draft, rows, [](const std::string&) {});
            drawn.accepted += accepted;
            drawn.rejected += accepted < std::ssize(draft);
        }
        drawn.tokens = test::part(generation.tokens(), prompt.size(), kWritten);
        return drawn;
    }
};

CACHALOT_FOR_MODELS(DraftDistribution, "nano41", "nano_mtp");

TEST_P(DraftDistribution, IsThatOfTheModel) {
    EngineOptions options{2};
    options.drafter = true;
    Engine engine(model(), options);
    const Tokens prompt = test::part(prose, 0, 40);
    RememberedLogits logits(engine, prompt);

    std::array<std::map<std::int32_t, int>, kWritten> seen;
    std::map<Tokens, int> seen_together;
    std::map<std::int32_t, int> drafted;
    int accepted = 0, rejected = 0;
    for (int i = 0; i < kDraws; ++i) {
        const Drawn drawn = draw(engine, logits, prompt, static_cast<std::uint64_t>(i));
        for (std::size_t t = 0; t < kWritten; ++t) ++seen[t][drawn.tokens[t]];
        ++seen_together[drawn.tokens];
        ++drafted[*drawn.drafted];
        accepted += drawn.accepted;
        rejected += drawn.rejected;
    }
    EXPECT_GT(accepted, kDraws / 4);
    EXPECT_GT(rejected, kDraws / 4);

    std::array<std::map<std::int32_t, double>, kWritten> expected;
    std::map<Tokens, double> together;
    for (const auto& [first, a] : shares(logits.model({})))
        for (const auto& [second, b] : shares(logits.model({first})))
            for (const auto& [third, c] : shares(logits.model({first, second}))) {
                expected[0][first] += a * b * c;
                expected[1][second] += a * b * c;
                expected[2][third] += a * b * c;
                together[{first, second, third}] += a * b * c;
            }
    for (std::size_t t = 0; t < kWritten; ++t) EXPECT_LT(excess(expected[t], seen[t]), 6) << "token " << t;
    EXPECT_LT(excess(together, seen_together), 6);
    // The drafter's own shares are others, which this test would notice.
    EXPECT_GT(excess(expected[0], drafted), 50);
}

}  // namespace
}  // namespace cachalot
