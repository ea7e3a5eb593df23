// Named tensors in one or several mapped files: what GGUF files and safetensors checkpoints have in common.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "file/mapped_file.h"
#include "tensor/tensor.h"

namespace cachalot {

// One entry of a file's directory.
struct StoredTensor {
    // Name and shape are always set. If the type is not supported, dtype means nothing and data is empty. The
    // data lies wherever the file put it: in safetensors there is no promise of alignment.
    TensorView view;
    std::string type;          // as the file names it, for people: "F8_E4M3", "Q4_K (12)"
    bool supported = true;     // `type` has a DType
    std::uint64_t offset = 0;  // of the first byte, from the start of its file
    std::size_t file = 0;      // which file, 0 unless the tensors are spread over several
};

class TensorFile {
  public:
    virtual ~TensorFile() = default;
    TensorFile(TensorFile&&) = default;
    TensorFile& operator=(TensorFile&&) = default;

    // What was opened; the start of every message.
    const std::string& source() const { return source_; }

    // All tensors, in the order of the files and of the bytes (safetensors) or directory (GGUF) within a
    // file.
    std::span<const StoredTensor> tensors() const { return tensors_; }

    // Looks a tensor up in O(log n). `find` returns null if there is none of that name, `get` throws. Both
    // throw Error if its type is not supported or if its file has been truncated since it was opened.
    const TensorView* find(std::string_view name) const;
    const TensorView& get(std::string_view name) const;
    // The whole entry: where the tensor lies. Throws like `get`.
    const StoredTensor& stored(std::string_view name) const;
    bool contains(std::string_view name) const { return by_name_.count(name) != 0; }

    // The mapped files; empty if the bytes came from memory.
    std::span<const MappedFile> files() const { return files_; }

  protected:
    explicit TensorFile(std::string source) : source_(std::move(source)) {}

    // To be called when `tensors_` is complete, and again if it grows. Throws Error if a name appears twice.
    void index_names();

    std::string source_;
    std::vector<MappedFile> files_;
    std::vector<StoredTensor> tensors_;

  private:
    // A tree, not a hash table: a hostile file cannot choose names that make it slow.
    std::map<std::string_view, std::size_t> by_name_;
};

// The size of a tensor in bytes. Throws Error if a dimension is negative, if rows are not whole blocks or if
// the number of elements or bytes does not fit in 63 bits.
std::size_t tensor_bytes(DType type, std::span<const std::int64_t> shape);

// "[4096, 1024]", for messages.
std::string shape_text(std::span<const std::int64_t> shape);

// More would be hostile: the largest release of the family has 150,000.
inline constexpr std::size_t kMaxTensors = 1 << 20;
inline constexpr std::size_t kMaxDimensions = 8;

}  // namespace cachalot
