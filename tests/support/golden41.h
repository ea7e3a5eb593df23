// Small models of the V4.1 architecture, and what an independent implementation computes from their weights:
// nano41, which ships with the project and was trained, and tiny41 of another shape with random weights.
#pragma once

#include <memory>
#include <string>

#include "engine/engine.h"
#include "support/golden_file.h"

namespace cachalot::test {

class Model41 : public GoldenFile {
  public:
    explicit Model41(const std::string& name)
        : GoldenFile(std::string(CACHALOT_TEST_DATA "/") + name + "-golden.safetensors"),
          model_(Model::load(name == "nano41" ? CACHALOT_MODELS "/nano41/nano41.gguf"
                                              : CACHALOT_TEST_DATA "/tiny41")) {}

    const std::shared_ptr<const Model>& model() const { return model_; }
    Engine exact(KvPrecision kv = KvPrecision::f32) const {
        return Engine(model_, {2, Precision::exact, kv});
    }

  private:
    std::shared_ptr<const Model> model_;
};

inline const Model41& model41(const std::string& name) {
    static const Model41 nano("nano41"), tiny("tiny41");
    return name == "nano41" ? nano : tiny;
}

}  // namespace cachalot::test
