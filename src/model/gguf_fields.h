// Typed access to the keys of one architecture in the metadata of a GGUF file. Errors name file and key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "file/gguf.h"

namespace cachalot {

class GgufFields {
  public:
    GgufFields(const Gguf& file, std::string_view architecture)
        : metadata(file.metadata()), source_(file.source()), prefix_(std::string(architecture) + ".") {}

    std::string key(std::string_view name) const { return prefix_ + std::string(name); }
    const std::string& source() const { return source_; }
    bool has(std::string_view name) const { return metadata.contains(key(name)); }

    template <class T>
    T get(std::string_view name) const {
        return metadata.get<T>(key(name));
    }
    template <class T>
    T get_or(std::string_view name, T fallback) const {
        return metadata.get_or<T>(key(name), fallback);
    }
    int size(std::string_view name) const { return get<std::int32_t>(name); }

    // From `low` to `high`.
    template <class T>
    T number(std::string_view name, T low, T high) const {
        const T value = get<T>(name);
        if (value < low || value > high)
            fail("{}: key '{}' is {}, expected {} to {}", source_, key(name), value, low, high);
        return value;
    }

    template <class T>
    void only(std::string_view name, T supported) const {
        const auto value = metadata.find<T>(key(name));
        if (value && *value != supported)
            fail("{}: key '{}' is {}, expected {}", source_, key(name), *value, supported);
    }

    // One entry for each layer from an array that may have more.
    template <class T>
    std::vector<T> per_layer(std::string_view name, int layers) const {
        auto values = get<std::vector<T>>(name);
        if (std::cmp_less(values.size(), layers))
            fail("{}: key '{}' has {} entries for {} layers", source_, key(name), values.size(), layers);
        values.resize(static_cast<std::size_t>(layers));
        return values;
    }

    std::vector<float> limits(std::string_view name, int layers) const {
        const GgufValue* value = metadata.value(key(name));
        if (value && !value->is_array)
            return std::vector<float>(static_cast<std::size_t>(layers), get<float>(name));
        return per_layer<float>(name, layers);
    }

    const GgufMetadata& metadata;

  private:
    const std::string& source_;
    std::string prefix_;
};

}  // namespace cachalot
