// Small models of the V4.1 architecture, and what an independent implementation computes from their weights:
// nano41, which ships with the project and was trained, and tiny41 of another shape with random weights.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "file/safetensors.h"

namespace cachalot::test {

class Model41 {
  public:
    explicit Model41(const std::string& name)
        : model_(Model::load(name == "nano41" ? CACHALOT_MODELS "/nano41/nano41.gguf"
                                              : CACHALOT_TEST_DATA "/tiny41")),
          golden_(std::string(CACHALOT_TEST_DATA "/") + name + "-golden.safetensors") {}

    const std::shared_ptr<const Model>& model() const { return model_; }
    Engine exact(KvPrecision kv = KvPrecision::f32) const {
        return Engine(model_, {2, Precision::exact, kv});
    }

    bool has(const std::string& name) const { return golden_.find(name) != nullptr; }
    template <class T>
    std::vector<T> get(const std::string& name) const {
        const auto& t = golden_.get(name);
        std::vector<T> values(t.data.size() / sizeof(T));
        std::memcpy(values.data(), t.data.data(), t.data.size());
        return values;
    }
    std::vector<std::int32_t> ids(const std::string& name) const { return get<std::int32_t>(name); }
    std::vector<float> floats(const std::string& name) const { return get<float>(name); }

  private:
    std::shared_ptr<const Model> model_;
    Safetensors golden_;
};

inline const Model41& model41(const std::string& name) {
    static const Model41 nano("nano41"), tiny("tiny41");
    return name == "nano41" ? nano : tiny;
}

}  // namespace cachalot::test
