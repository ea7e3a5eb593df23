// The tokens that may be drawn, with their weights: the softmax without its denominator.
//
// Vocabularies have 129,000 tokens and every token of an answer is drawn from all of them, so they are never
// sorted. Weights are summed in buckets by the distance of the logit from the best one; what top-k and top-p
// keep ends in one of these buckets, and only its tokens are ranked. What is dropped has the weight 0.
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
    void assign(std::span<const float> logits, float best, double temperature);

    // Each keeps a part of what the calls before it have kept: the k > 0 best tokens; the fewest best ones
    // that have a share p in [0, 1] of the weight, at least one; those whose weight is at least a part of the
    // best token's. Where logits are equal the lower token is the better.
    void keep_top_k(std::size_t k);
    void keep_top_p(double p);
    void keep_min_p(double part);

    // The token at which `uniform`, in [0, 1), of the weight is passed, counted by ascending token, so that
    // it depends on nothing but which tokens remain. The last call.
    std::int32_t draw(double uniform);

  private:
    // A bucket is 1/kPerUnit of the exponent wide; the last one holds all that lies beyond.
    static constexpr std::size_t kPerUnit = 32, kBuckets = 1024;
    struct Bucket {
        double weight = 0;
        std::size_t tokens = 0;
    };
    struct Candidate {
        float logit;
        std::int32_t token;
    };

    void fill_buckets();
    void collect(std::size_t bucket);
    void drop_behind(const Candidate& last);
    double weight(const Candidate& c) const { return weights_[static_cast<std::size_t>(c.token)]; }
    static bool ranks_before(const Candidate& a, const Candidate& b) {
        return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
    }

    std::span<const float> logits_;
    double best_ = 0, scale_ = 1;
    std::vector<double> weights_;  // [vocab] the best token has 1; in draw() the sums up to each token
    std::vector<std::uint16_t> bucket_of_;  // [vocab]
    std::array<Bucket, kBuckets> buckets_{};
    std::vector<Candidate> candidates_;  // of one bucket
};

}  // namespace cachalot
