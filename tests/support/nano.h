// The nano model that ships with the project, and what an independent implementation computes from its
// weights.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "support/golden_file.h"

namespace cachalot::test {

inline const std::string kNanoPath = std::string(CACHALOT_MODELS) + "/nano/nano.gguf";

inline std::shared_ptr<const Model> nano() {
    static const auto model = Model::load(kNanoPath);
    return model;
}

// With the block for multi-token prediction that was trained for it.
inline std::shared_ptr<const Model> nano_mtp() {
    static const auto model =
        Model::load(kNanoPath, {.engram = {}, .drafter = CACHALOT_TEST_DATA "/nano-mtp"});
    return model;
}

inline Engine exact_engine() { return Engine(nano(), {2, Precision::exact, KvPrecision::f32}); }

// tests/data/nano-golden.safetensors: computed by Hugging Face transformers in float32, without any rounding.
class Golden {
  public:
    template <class T>
    static std::vector<T> get(const std::string& name) {
        static const GoldenFile file(CACHALOT_TEST_DATA "/nano-golden.safetensors");
        return file.get<T>(name);
    }
    static std::vector<std::int32_t> ids(const std::string& name) { return get<std::int32_t>(name); }
    static std::vector<float> floats(const std::string& name) { return get<float>(name); }
};

inline double largest_difference(std::span<const float> a, std::span<const float> b) {
    double largest = a.size() == b.size() ? 0 : HUGE_VAL;
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
        largest = std::max(largest, std::fabs(static_cast<double>(a[i]) - b[i]));
    return largest;
}

inline std::int32_t argmax(std::span<const float> logits) {
    return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// All logits [tokens, vocab] of tokens that are read in chunks of the given size, or with 1 evaluated as
// those of an answer.
inline std::vector<float> all_logits(Engine& engine, KvState& state, std::span<const std::int32_t> ids,
                                     std::size_t chunk) {
    std::vector<float> logits;
    for (std::size_t first = 0; first < ids.size(); first += chunk) {
        auto part = engine.step(state, ids.subspan(first, std::min(chunk, ids.size() - first)),
                                chunk == 1 ? RowsKind::decode : RowsKind::prompt, Batch::Logits::all);
        logits.insert(logits.end(), part.begin(), part.end());
    }
    return logits;
}

}  // namespace cachalot::test
