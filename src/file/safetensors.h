// Reader of safetensors files, the format of DeepSeek's releases.
//
//   | u64 n, little endian | n bytes of JSON | data |
//   JSON: {"name": {"dtype": "BF16", "shape": [8192, 256], "data_offsets": [begin, end]}, ...,
//          "__metadata__": {"format": "pt"}}                        offsets count from the start of data
//
// A release spreads its tensors over many such files and adds model.safetensors.index.json, whose
// "weight_map" names the file of every tensor. The index is the authority: each tensor comes from the file it
// names and must be there.
//
// Writers promise much more than most readers check, and unchecked headers have led to out-of-bounds reads in
// several of them. Everything is checked here when a file is opened: the header's size, strict JSON without
// duplicate keys, sizes that agree with shape and type, and ranges that cover the data exactly, without
// overlap or hole.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "file/tensor_file.h"

namespace cachalot {

class Safetensors : public TensorFile {
  public:
    // Opens a file, an index, or a directory that holds model.safetensors.index.json or model.safetensors.
    // All files are mapped and their headers read at once. Throws Error naming file and tensor.
    //
    // A type without DType (F64, U16, ...) is only an error when its tensor is asked for.
    explicit Safetensors(const std::filesystem::path& path);

    // Reads one file from memory that outlives the result; `source` starts the messages.
    static Safetensors parse(std::span<const std::byte> bytes, std::string source);

    // The free-form "__metadata__" of the first file.
    const std::map<std::string, std::string>& metadata() const { return metadata_; }

  private:
    struct FromMemory {};
    Safetensors(FromMemory, std::string source) : TensorFile(std::move(source)) {}

    void open_index(const std::filesystem::path& path);
    void read_header(std::span<const std::byte> bytes, const std::string& source, std::size_t file);

    std::map<std::string, std::string> metadata_;
};

}  // namespace cachalot
