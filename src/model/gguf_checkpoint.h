#pragma once

#include "file/gguf.h"
#include "model/checkpoint.h"
#include "model/model_parts.h"

namespace cachalot {

class GgufCheckpoint final : public Checkpoint {
  public:
    explicit GgufCheckpoint(const std::filesystem::path& path);

    std::span<const MappedFile> files() const override { return file_.files(); }
    Tokenizer tokenizer() const override;
    std::string unused() const override { return unused_parts(file_.tensors()); }
    SamplingDefaults sampling_defaults() const override;
    Matrix expert(const std::string& name, int expert, int experts, std::int64_t rows,
                  std::int64_t columns) const override;
    EngramTable table(const std::string& name, std::int64_t rows, std::int64_t columns) const override;
    void write_metadata(GgufWriter& writer) const override;
    const GgufMetadata& metadata() const { return file_.metadata(); }

  private:
    Matrix view(const std::string& name, std::int64_t rows, std::int64_t columns) const override;
    std::string file_name(const std::string& name) const;
    void add_scales(const std::string& name, Matrix& m) const;

    Gguf file_;
};

}  // namespace cachalot
