// The policy that the engine uses: evict the expert that is worth least, where the worth of keeping it is
// what its next use is expected to save, and later uses save less.
//
// If T is the time until an expert is chosen again, counted in tokens, its worth is the mean of 2^(-T /
// kHorizon). To compare means of T itself would be the obvious thing and is worse: an estimate of some
// thousand tokens for an expert that is hardly ever chosen says nothing, but its error would outweigh
// everything else.
//
// A layer is visited once for every token, so that T is the time until its next visit plus whole tokens. Let
// `soon` be the chance of being chosen at that visit and `later` the chance at each one after it. With d =
// 2^(-1 / kHorizon) the worth is
//
//     d^(time to the visit) * (soon + (1 - soon) * later * d / (1 - (1 - later) * d))
//
// which also says what to do when the cache holds less than one token's experts, where LRU finds nothing:
// keep those whose layers come next.
//
// The chances are linear in six features, whose weights are learned from the conversation itself:
//
//   - how often the expert was chosen lately, with half-lives of 1, 4, 16, 64 and 256 tokens. Reports on
//     which one is best contradict each other because texts and models differ; learning the mix gets the best
//     of each. Counts are kept for all experts, cached or not.
//   - for `soon` only, the share of similar tokens that chose it (route_memory.h).
//
// All of it takes one to two milliseconds for a token of V4-Flash, less than a single missing expert takes to
// read.
#include <algorithm>
#include <array>
#include <cmath>

#include "experts/policy/chance_regression.h"
#include "experts/policy/route_memory.h"
#include "experts/policy/score_policy.h"

namespace cachalot {
namespace {

constexpr std::array<double, 5> kHalfLives = {1, 4, 16, 64, 256};  // tokens
constexpr std::size_t kCounts = kHalfLives.size();
constexpr std::size_t kShare = kCounts;  // index of the feature from the route memory
constexpr std::size_t kFeatures = kCounts + 1;
using Features = std::array<double, kFeatures>;

constexpr Features kPrior = {0, 0, 1, 0, 0, 0};  // before anything is learned: a half-life of 16 tokens
constexpr double kPriorStrength = 10;
constexpr double kFade = 0.995;                            // of what was learned, for each token
constexpr double kHorizon = 1.4;                           // tokens in which a use loses half of its worth
constexpr double kLeastChance = 1e-4, kMostChance = 0.98;  // estimates are not believed beyond these

double clamped(double chance) { return std::clamp(chance, kLeastChance, kMostChance); }

class Forecast final : public ScorePolicy {
  public:
    explicit Forecast(const CacheShape& shape)
        : ScorePolicy(shape),
          shape_(shape),
          experts_(static_cast<std::size_t>(shape.experts)),
          counts_(shape.keys()),
          share_(shape.keys(), 0.0f),
          soon_(shape.keys(), 0.0),
          later_(shape.keys(), 0.0),
          layer_of_(shape.keys()),
          memory_(shape.layers),
          regression_(kPrior, kPriorStrength) {
        for (std::size_t i = 0; i < kCounts; ++i) unit_[i] = 1 - std::exp2(-1 / kHalfLives[i]);
        for (ExpertKey key = 0; key < shape.keys(); ++key)
            layer_of_[key] = static_cast<std::int16_t>(shape.layer(key));
        // discount_[n]: for a visit n layers ahead, n = 1..layers
        for (int n = 0; n <= shape.layers; ++n)
            discount_.push_back(std::exp2(-n / (kHorizon * shape.layers)));
    }

    // As if it had gone on like that for long.
    void expect(ExpertKey key, double rate) override {
        for (std::size_t i = 0; i < kCounts; ++i) counts_[key][i] = static_cast<float>(rate / unit_[i]);
        estimate(key);
    }

    void begin_pass(int tokens, bool prompt) override {
        // A prompt read in one pass is no token that another one could be like, and its experts are not drawn
        // one token at a time.
        learning_ = !prompt;
        remembering_ = !prompt || tokens == 1;
        memory_.begin_pass();
        layer_ = -1;
        if (learning_) {
            soon_weights_ = regression_.weights();
            later_weights_ = regression_.weights(kCounts);
            regression_.fade(kFade);
        }
        // Of several tokens a count gets what their choices would add one by one, were they spread evenly.
        std::array<float, kCounts> decay;
        for (std::size_t i = 0; i < kCounts; ++i) {
            const double kept = std::exp2(-tokens / kHalfLives[i]);
            decay[i] = static_cast<float>(kept);
            increment_[i] = static_cast<float>((1 - kept) / unit_[i] / tokens);
        }
        for (ExpertKey key = 0; key < counts_.size(); ++key) {
            for (std::size_t i = 0; i < kCounts; ++i) counts_[key][i] *= decay[i];
            estimate(key);
        }
    }

  protected:
    void count_selection(ExpertKey key, int count, bool) override {
        const int layer = shape_.layer(key);
        if (layer != layer_) begin_layer(layer);
        if (learning_) regression_.happened(features(key));
        for (std::size_t i = 0; i < kCounts; ++i)
            counts_[key][i] += increment_[i] * static_cast<float>(count);
        estimate(key);
        if (remembering_) memory_.add(static_cast<int>(key) % shape_.experts);
        shares_stale_ = true;
    }

    // The worth of keeping it.
    double score(ExpertKey key) override {
        if (shares_stale_) {
            for (int l = 0; l < shape_.layers; ++l) update_shares(l);
            shares_stale_ = false;
        }
        int ahead = layer_of_[key] - layer_;
        if (ahead <= 0) ahead += shape_.layers;
        const double soon = clamped(soon_[key] + soon_weights_[kShare] * share_[key]);
        return discount_[static_cast<std::size_t>(ahead)] * (soon + (1 - soon) * later_[key]);
    }

  private:
    void begin_layer(int layer) {
        layer_ = layer;
        memory_.begin_layer(layer);
        if (!learning_) return;
        // What is about to happen to every expert of the layer: chosen or not.
        update_shares(layer);
        for (int e = 0; e < shape_.experts; ++e) regression_.observe(features(shape_.key(layer, e)));
    }

    Features features(ExpertKey key) const {
        Features f;
        for (std::size_t i = 0; i < kCounts; ++i) f[i] = counts_[key][i] * unit_[i];
        f[kShare] = share_[key];
        return f;
    }

    // The parts of the chances that change with the counts only.
    void estimate(ExpertKey key) {
        double soon = 0, later = 0;
        for (std::size_t i = 0; i < kCounts; ++i) {
            const double f = counts_[key][i] * unit_[i];
            soon += soon_weights_[i] * f;
            later += later_weights_[i] * f;
        }
        soon_[key] = soon;
        later = clamped(later);
        const double d = discount_.back();
        later_[key] = later * d / (1 - (1 - later) * d);
    }

    void update_shares(int layer) {
        memory_.shares_at_next_visit(layer, std::span(share_).subspan(shape_.key(layer, 0), experts_));
    }

    CacheShape shape_;
    std::size_t experts_;
    std::array<double, kCounts> unit_;        // makes a count a rate: 1 if chosen by every token
    std::array<float, kCounts> increment_{};  // of a count, for each choice in this pass
    std::vector<double> discount_;            // [layers + 1]

    std::vector<std::array<float, kCounts>> counts_;  // [keys], decayed
    std::vector<float> share_;                        // [keys]
    std::vector<double> soon_, later_;                // [keys], see estimate()
    std::vector<std::int16_t> layer_of_;              // [keys]; a table is faster than a division

    RouteMemory memory_;
    ChanceRegression<kFeatures> regression_;
    Features soon_weights_ = kPrior, later_weights_ = kPrior;
    int layer_ = -1;
    bool learning_ = false, remembering_ = false;
    bool shares_stale_ = true;
};

}  // namespace

std::unique_ptr<ReplacementPolicy> make_forecast(const CacheShape& shape) {
    return std::make_unique<Forecast>(shape);
}

}  // namespace cachalot
