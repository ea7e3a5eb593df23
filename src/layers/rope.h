// Rotary position embedding: which frequencies a layer uses, and the cosines and sines of a batch.
//
// Layers without compression use theta 10000 as it is. Layers with compression use theta 160000 with YaRN
// interpolation, for queries, window, compressed rows, indexer and the inverse rotation alike. YaRN's
// magnitude factor is not used by this family.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "kernels/views.h"
#include "model/config.h"

namespace cachalot {

// [R/2] angles per token. Slow dimensions (many tokens per turn) are stretched by `yarn_factor`, fast ones
// are kept, with a linear ramp in between whose ends are where a dimension turns beta_slow and beta_fast
// times within the original context (Peng et al., YaRN, 2023).
std::vector<float> rope_frequencies(const RopeConfig& rope, int rope_dim, bool compressed);

class RopeTables {
  public:
    explicit RopeTables(const Config& config);

    // Fills the angles of rows at these positions. The angle is the float32 product of position and
    // frequency, as in the reference: at a million tokens its rounding is visible, and the model was trained
    // with it.
    void prepare(std::span<const std::int64_t> positions);

    RotaryView rows(bool compressed, int first_row) const;
    const float* frequencies(bool compressed) const { return frequencies_[compressed].data(); }

  private:
    int half_;
    std::vector<float> frequencies_[2];         // [compressed][R/2]
    AlignedBuffer<float> cosine_[2], sine_[2];  // [compressed][rows, R/2]
};

}  // namespace cachalot
