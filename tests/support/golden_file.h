// Values that an independent implementation computed, in a safetensors file.
#pragma once

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "file/safetensors.h"

namespace cachalot::test {

class GoldenFile {
  public:
    explicit GoldenFile(const std::filesystem::path& path) : file_(path) {}

    bool has(const std::string& name) const { return file_.find(name) != nullptr; }
    template <class T>
    std::vector<T> get(const std::string& name) const {
        const auto& t = file_.get(name);
        std::vector<T> values(t.data.size() / sizeof(T));
        std::memcpy(values.data(), t.data.data(), t.data.size());
        return values;
    }
    std::vector<std::int32_t> ids(const std::string& name) const { return get<std::int32_t>(name); }
    std::vector<float> floats(const std::string& name) const { return get<float>(name); }

  private:
    Safetensors file_;
};

}  // namespace cachalot::test
