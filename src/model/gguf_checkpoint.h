#pragma once

#include "file/gguf.h"
#include "model/checkpoint.h"
#include "model/model_parts.h"

namespace cachalot {

class GgufCheckpoint final : public Checkpoint {
  public:
    // See Checkpoint::open().
    explicit GgufCheckpoint(const std::filesystem::path& path, const std::filesystem::path& engram = {});

    std::span<const MappedFile> files() const override { return file_.files(); }
    bool has_tokenizer() const override { return metadata().contains("tokenizer.ggml.tokens"); }
    Tokenizer tokenizer() const override;
    std::string unused() const override;
    bool has(const std::string& name) const override { return file_.contains(file_name(name)); }
    void check_engram(std::span<const std::int32_t> classes) const override;
    SamplingDefaults sampling_defaults() const override;
    Matrix expert(const std::string& name, int expert, int experts, std::int64_t rows,
                  std::int64_t columns) const override;
    EngramTable table(const std::string& name, std::int64_t rows, std::int64_t columns) const override;
    void write_metadata(GgufWriter& writer) const override;
    const GgufMetadata& metadata() const { return file_.metadata(); }

  private:
    Matrix view(const std::string& name, std::int64_t rows, std::int64_t columns) const override;
    std::string file_name(const std::string& name) const;
    void take_engram(const std::filesystem::path& path);
    void add_scales(const std::string& name, Matrix& m) const;

    Gguf file_;
};

}  // namespace cachalot
