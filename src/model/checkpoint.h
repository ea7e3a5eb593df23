// A model on disk, whatever its layout: one or several GGUF files, or the directory of a DeepSeek release.
//
// Tensors are asked for by their GGUF name; a release is translated (model_tensors.h). Nothing is read before
// it is used: matrices are views into mapped files.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "file/mapped_file.h"
#include "model/config.h"
#include "model/engram_table.h"
#include "tensor/matrix.h"
#include "text/tokenizer.h"

namespace cachalot {

class GgufWriter;

// Sets the keys of a GGUF file that GgufCheckpoint::tokenizer() reads.
void write_tokenizer(const TokenizerData& data, GgufWriter& writer);

class Checkpoint {
  public:
    virtual ~Checkpoint() = default;

    // Opens a GGUF file (of a split model: the first part) or a release directory; also one that has nothing
    // but a drafter (is_drafter_only() in part_tensors.h). `engram`, if given, is the GGUF file with the
    // Engram tables of a GGUF file that has them not. Throws Error, also if the model has no tables, has them
    // itself, or has others.
    static std::unique_ptr<Checkpoint> open(const std::filesystem::path& path,
                                            const std::filesystem::path& engram = {});

    const Config& config() const { return config_; }
    const std::string& source() const { return source_; }  // the path, which starts every message

    // That matrices are views into.
    virtual std::span<const MappedFile> files() const = 0;

    // A drafter beside a model (draft_model.h) may have none.
    virtual bool has_tokenizer() const = 0;
    virtual Tokenizer tokenizer() const = 0;

    // What lies beside the model and is passed by (model_parts.h), for a note; empty if there is nothing.
    virtual std::string unused() const = 0;

    // Whether there is a tensor of that name; not of experts.
    virtual bool has(const std::string& name) const = 0;

    // Throws Error if what a file says of its Engram tables does not follow from the tokenizer, whose tokens
    // are of these classes [vocab].
    virtual void check_engram(std::span<const std::int32_t>) const {}

    // What the author recommends, where a file says so.
    struct SamplingDefaults {
        std::optional<float> temperature, top_p;
    };
    virtual SamplingDefaults sampling_defaults() const = 0;

    // The [rows, columns] matrix of that name. Throws Error if it is missing, has another shape or a type
    // that no kernel takes.
    Matrix matrix(const std::string& name, std::int64_t rows, std::int64_t columns) const;
    // The same of any width.
    Matrix plain(const std::string& name, std::int64_t rows, std::int64_t columns) const;

    // Expert `expert` of the [experts, rows, columns] tensor of that name; throws Error likewise.
    virtual Matrix expert(const std::string& name, int expert, int experts, std::int64_t rows,
                          std::int64_t columns) const = 0;

    // Where the Engram table of that name lies; throws Error likewise.
    virtual EngramTable table(const std::string& name, std::int64_t rows, std::int64_t columns) const = 0;

    // The same as float32, from any type of numbers; as int32, from I32 or I64.
    std::vector<float> floats(const std::string& name, std::int64_t rows, std::int64_t columns) const;
    std::vector<std::int32_t> integers(const std::string& name, std::int64_t rows,
                                       std::int64_t columns) const;

    // Sets the keys of a GGUF file that describe this model: configuration, tokenizer, defaults.
    virtual void write_metadata(GgufWriter& writer) const = 0;

    // Sets what a copy without loss keeps of the release (release_record.h).
    virtual void write_release_record(GgufWriter&) const {}

  protected:
    // The tensor's bytes as a matrix, its shape checked; rows = 1 also stands for a vector of `columns`.
    virtual Matrix view(const std::string& name, std::int64_t rows, std::int64_t columns) const = 0;

    // Throws Error unless the type and the width suit the kernels.
    void check_matrix(const std::string& name, const Matrix& matrix) const;

    Config config_;
    std::string source_;
};

}  // namespace cachalot
