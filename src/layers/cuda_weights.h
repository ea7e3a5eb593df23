// The weights of a model in the memory of a card, as they lie in the files. Boxes name a weight as it is
// known on the host and get the same weight on the card.
#pragma once

#include <unordered_map>
#include <vector>

#include "device/buffer.h"
#include "kernels/cuda/grids.h"
#include "model/weights.h"

namespace cachalot {

class CudaWeights {
  public:
    // Copies everything that passes of this model read. Throws OutOfMemory, which says how much that is, and
    // Error for a matrix that the kernels cannot read.
    CudaWeights(const Weights& weights, const std::shared_ptr<Device>& device, Stream& stream);

    std::uint64_t bytes() const { return memory_.capacity(); }

    // These are all of weights that the model has; the addresses that they return are of the card.
    Matrix matrix(const Matrix& on_host) const;
    const float* floats(const std::vector<float>& on_host) const;  // null if there are none
    const std::int32_t* integers(const std::vector<std::int32_t>& on_host) const;
    HyperConnectionWeights mix(const MixWeights& on_host) const;
    ExpertWeights expert(const ExpertWeights& on_host) const;
    const ExpertWeights* experts(int layer) const;  // [E], on the card
    const cuda::Grids& grids() const { return grids_; }

  private:
    template <class T>
    const T* found(const T* on_host) const;

    Buffer<std::byte> memory_;
    std::unordered_map<const void*, std::byte*> places_;  // by address on the host
    std::vector<const ExpertWeights*> experts_;           // [layers]
    cuda::Grids grids_;
};

}  // namespace cachalot
