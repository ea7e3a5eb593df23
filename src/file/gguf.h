// Reader of GGUF files, versions 2 and 3 (gguf_format.h draws the layout).
//
// A model may be split: NAME-00001-of-00005.gguf and so on, each a complete GGUF file. The first carries the
// metadata; all carry split.no and split.count. Opening the first opens them all, and they look like one
// file.
//
// ggml writes dimensions contiguous first; here shapes are outermost first, as everywhere in this program.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "file/gguf_metadata.h"
#include "file/tensor_file.h"

namespace cachalot {

class Gguf : public TensorFile {
  public:
    // Opens a file or, given its first part, a split model. Reads the directory only. Throws Error naming
    // file, key or tensor. Tensors of a type that we cannot compute with are listed, and are an error when
    // asked for.
    explicit Gguf(const std::filesystem::path& path);

    // Reads one file from memory that outlives the result; `source` starts the messages.
    static Gguf parse(std::span<const std::byte> bytes, std::string source);

    // Of the first part.
    const GgufMetadata& metadata() const { return metadata_; }

    // Takes over the tensors of these names, which `other` has and this file has not, with the files of
    // `other`.
    void take(Gguf other, std::span<const std::string> names);

  private:
    struct FromMemory {};
    Gguf(FromMemory, std::string source) : TensorFile(std::move(source)) {}

    // Appends the tensors of one part and returns its metadata.
    GgufMetadata read_part(std::span<const std::byte> bytes, const std::string& source, std::size_t file);
    void open_other_parts(const std::filesystem::path& path);

    GgufMetadata metadata_;
};

}  // namespace cachalot
