// DeepSeek's own layout: config.json, tokenizer.json and safetensors. FP8 matrices and FP4 experts have their
// scales in a second tensor named `.scale`.
#pragma once

#include <map>

#include "file/safetensors.h"
#include "model/checkpoint.h"
#include "model/model_parts.h"

namespace cachalot {

class ReleaseCheckpoint final : public Checkpoint {
  public:
    explicit ReleaseCheckpoint(const std::filesystem::path& directory);

    std::span<const MappedFile> files() const override { return tensors_.files(); }
    bool has_tokenizer() const override;
    Tokenizer tokenizer() const override;
    std::string unused() const override;
    bool has(const std::string& name) const override { return tensors_.contains(release_name(name)); }
    SamplingDefaults sampling_defaults() const override;
    Matrix expert(const std::string& name, int expert, int experts, std::int64_t rows,
                  std::int64_t columns) const override;
    EngramTable table(const std::string& name, std::int64_t rows, std::int64_t columns) const override;
    void write_metadata(GgufWriter& writer) const override;
    void write_release_record(GgufWriter& writer) const override;

  private:
    Matrix view(const std::string& name, std::int64_t rows, std::int64_t columns) const override;
    Matrix stored(const std::string& release_name, std::int64_t rows, std::int64_t columns) const;
    RowPart part(const std::string& name, DType type, std::int64_t rows, std::int64_t columns) const;
    const std::string& release_name(const std::string& name) const;

    std::filesystem::path directory_;
    Safetensors tensors_;
    std::map<std::string, std::string> names_;  // GGUF name -> release name
};

}  // namespace cachalot
