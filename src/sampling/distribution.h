// The tokens that may be drawn, with their weights: the softmax without its denominator.
//
// Vocabularies have 129,000 tokens and every token of an answer is drawn from all of them, so they are never
// sorted. Weights are summed in buckets by the distance of the logit from the best one; what top-k and top-p
// keep ends in one of these buckets, and only its tokens are ranked. What is dropped has the weight 0.
//
// Each step is a loop over the vocabulary without branches, which the compiler turns into vector
// instructions. Weights are float32, right to about six digits; their sums are double.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cachalot {

// The memory is used again by the next assign().
class Distribution {
  public:
    // All tokens, by their logits [vocab], the largest of which is `best` and finite. temperature > 0.
    void assign(std::span<const float> logits, float best, float temperature);

    // Each keeps a part of what the calls before it have kept: the k > 0 best tokens; the fewest best ones
    // that have a share p in [0, 1] of the weight, at least one; those whose weight is at least a part of the
    // best token's. Where logits are equal the lower token is the better.
    void keep_top_k(std::size_t k);
    void keep_top_p(float p);
    void keep_min_p(float part);

    // The token at which `uniform`, in [0, 1), of the weight is passed, counted by ascending token, so that
    // it depends on nothing but which tokens remain.
    std::int32_t draw(double uniform);

  private:
    // A bucket is 1/kPerUnit of the exponent wide; the last one holds all that lies beyond.
    static constexpr int kPerUnit = 16, kBuckets = 512;
    // Neighbouring tokens are counted apart: sums of the same bucket would wait for each other.
    static constexpr std::size_t kApart = 4;
    struct Candidate {
        float logit;
        std::int32_t token;
    };

    void find_buckets();
    template <class Number, class Of>
    auto totals(Of of) const -> std::array<Number, kBuckets>;
    void collect(std::size_t bucket);
    void drop_behind(const Candidate& last);
    double weight(const Candidate& c) const { return weights_[static_cast<std::size_t>(c.token)]; }
    static bool ranks_before(const Candidate& a, const Candidate& b) {
        return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
    }

    std::span<const float> logits_;
    float best_ = 0, scale_ = 1;
    std::vector<float> weights_;            // [vocab] the best token has 1
    std::vector<std::uint16_t> bucket_of_;  // [vocab], once it was asked for
    std::vector<Candidate> candidates_;     // of one bucket
    std::vector<double> block_sums_;        // of draw()
};

}  // namespace cachalot
