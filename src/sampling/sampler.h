// Chooses the next token from the logits of the last position.
//
// The steps, in this order:
//
//   1. logit bias          x_i += bias_i                                     OpenAI API, `logit_bias`
//   2. repetition penalty  x_i = x_i > 0 ? x_i / r : x_i * r, if i was seen  CTRL (Keskar et al. 2019) [*]
//      presence, frequency x_i -= presence * [c_i > 0] + frequency * c_i     OpenAI; c_i: times generated
//   3. temperature         w_i = exp((x_i - max x) / T)                      softmax without denominator
//   4. top-k               keep the k largest                                Fan et al. 2018
//   5. top-p               keep the fewest largest with sum w >= p * total   nucleus, Holtzman et al. 2019
//   6. min-p               keep w_i >= min_p * max w                         Nguyen et al. 2024
//   7. draw                probability of i = w_i / sum of the kept w
//
// [*] The product for negative logits is customary since: to divide them would reward repetition.
//
// Bias and penalties are defined on logits, so they come first and act at temperature 0, too. Top-k keeps the
// same tokens before or after temperature; top-p is taken of what top-k left, renormalised, because p is a
// share of the tokens one would still sample. Min-p compares with the best token only, which no other filter
// can remove. Where logits are equal the lower token id ranks first.
//
// A constraint (token_constraint.h) needs no hook here: it sets the logits of forbidden tokens to -infinity,
// and those are never drawn.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sampling/random.h"

namespace cachalot {

struct SamplingOptions {
    float temperature = 1.0f;  // [0, 100]; 0 takes the most probable token and draws no random number
    float top_p = 1.0f;        // [0, 1]; 1 is off, 0 keeps one token
    float min_p = 0.0f;        // [0, 1]; 0 is off
    int top_k = 0;             // 0 is off
    std::uint64_t seed = 0;
    float repetition_penalty = 1.0f;  // [0.01, 100]; 1 is off
    float presence_penalty = 0.0f;    // [-100, 100]; 0 is off
    float frequency_penalty = 0.0f;   // [-100, 100]; 0 is off
    int penalty_window = -1;          // penalties see this many last tokens, -1: all
    std::vector<std::pair<std::int32_t, float>> logit_bias =
        {};  // [-100, 100], or -infinity to forbid the token
};

// Throws Error naming the field that is out of range. `vocab` is the number of logits.
void validate(const SamplingOptions& options, int vocab);

class Sampler {
  public:
    // Validates the options.
    Sampler(SamplingOptions options, int vocab);

    // Tells the sampler which tokens the text consists of, in order: the prompt's, then each one that was
    // chosen. Prompt tokens count for the repetition penalty only. Throws Error if a token is outside the
    // vocabulary.
    void accept_prompt(std::span<const std::int32_t> tokens);
    void accept(std::int32_t token);

    // Chooses a token; does not accept it. `logits` [vocab] are changed by bias and penalties.
    // Throws Error if a logit is NaN or +infinity or none is finite.
    std::int32_t sample(std::span<float> logits);

    const SamplingOptions& options() const { return options_; }

  private:
    struct Seen {
        std::int32_t token;
        bool generated;
    };
    struct Counts {
        int all = 0;
        int generated = 0;
    };
    void see(Seen seen);
    void apply_bias_and_penalties(std::span<float> logits) const;
    SamplingOptions options_;
    int vocab_;
    bool penalised_;  // whether any penalty is on: otherwise nothing is counted
    SplitMix64 random_;
    std::unordered_map<std::int32_t, Counts> counts_;  // of the tokens inside the window
    std::deque<Seen> window_;                          // unused if the window is unlimited
};

}  // namespace cachalot
