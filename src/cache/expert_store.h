// Where the routed experts' weights come from.
//
// The forward pass names the experts that a batch chose and gets their weights; it does not know whether they were
// mapped all along or had to be fetched.
#pragma once

#include <span>
#include <vector>

#include "kernels/backend.h"
#include "model/weights.h"

namespace cachalot {

class ExpertStore {
  public:
    virtual ~ExpertStore() = default;

    // The experts of a layer, [E]; entries named by `ids` are valid until the next call, others may be null.
    virtual std::span<const ExpertWeights* const> acquire(int layer, std::span<const std::int32_t> ids) = 0;
};

// All experts are mapped; the operating system pages them.
class ResidentExpertStore final : public ExpertStore {
  public:
    explicit ResidentExpertStore(const Weights& weights) {
        for (const auto& layer : weights.layers) {
            auto& pointers = experts_.emplace_back();
            for (const auto& expert : layer.experts) pointers.push_back(&expert);
        }
    }

    std::span<const ExpertWeights* const> acquire(int layer, std::span<const std::int32_t>) override {
        return experts_[static_cast<std::size_t>(layer)];
    }

  private:
    std::vector<std::vector<const ExpertWeights*>> experts_;  // [layers][E]
};

}  // namespace cachalot
