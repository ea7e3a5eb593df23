#include "model/checkpoint.h"

#include <cstring>

#include "base/error.h"
#include "file/gguf_writer.h"
#include "model/checkpoint_files.h"
#include "model/foreign_folder.h"
#include "model/gguf_checkpoint.h"
#include "model/release_checkpoint.h"
#include "tensor/convert.h"

namespace cachalot {

void write_tokenizer(const TokenizerData& data, GgufWriter& writer) {
    writer.set("tokenizer.ggml.model", "gpt2");  // byte-level BPE
    writer.set("tokenizer.ggml.pre",
               "joyai-llm");  // the name that other engines know these three patterns by
    writer.set_strings("tokenizer.ggml.tokens", data.tokens);
    writer.set_array<std::int32_t>("tokenizer.ggml.token_type", data.types);
    writer.set_strings("tokenizer.ggml.merges", data.merges);
    writer.set<std::uint32_t>("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(data.bos));
    writer.set<std::uint32_t>("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(data.eos));
    writer.set<bool>("tokenizer.ggml.add_bos_token", false);  // the prompt encoding writes it
}

std::unique_ptr<Checkpoint> Checkpoint::open(const std::filesystem::path& path,
                                             const std::filesystem::path& engram) {
    switch (checkpoint_kind(path)) {
        case CheckpointKind::gguf: return std::make_unique<GgufCheckpoint>(path, engram);
        case CheckpointKind::release: break;
    }
    if (!engram.empty())
        fail("{}: is a release, whose Engram tables are in its own files; leave out {}", path.string(),
             engram.string());
    check_release_folder(path);
    check_architecture_of(path);  // of another one nothing else need be right
    return std::make_unique<ReleaseCheckpoint>(path);
}

void Checkpoint::check_matrix(const std::string& name, const Matrix& m) const {
    // The kernels take 32 columns at a time.
    if (m.columns % 32 != 0)
        fail("{}: tensor {} has {} columns, not a multiple of 32", source_, name, m.columns);
    if (!is_float_like(m.dtype))
        fail("{}: tensor {} has type {}, not one of numbers", source_, name, cachalot::name(m.dtype));
}

Matrix Checkpoint::plain(const std::string& name, std::int64_t rows, std::int64_t columns) const {
    const Matrix m = view(name, rows, columns);
    if (!is_float_like(m.dtype))
        fail("{}: tensor {} has type {}, not one of numbers", source_, name, cachalot::name(m.dtype));
    return m;
}

std::vector<float> Checkpoint::floats(const std::string& name, std::int64_t rows,
                                      std::int64_t columns) const {
    const Matrix m = plain(name, rows, columns);
    std::vector<float> values(static_cast<std::size_t>(rows * columns));
    for (std::int64_t r = 0; r < rows; ++r)
        dequantize_row(m, r, {values.data() + r * columns, static_cast<std::size_t>(columns)});
    return values;
}

Matrix Checkpoint::matrix(const std::string& name, std::int64_t rows, std::int64_t columns) const {
    Matrix m = view(name, rows, columns);
    check_matrix(name, m);
    return m;
}

std::vector<std::int32_t> Checkpoint::integers(const std::string& name, std::int64_t rows,
                                               std::int64_t columns) const {
    Matrix m = view(name, rows, columns);
    std::vector<std::int32_t> values(static_cast<std::size_t>(rows * columns));
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (m.dtype == DType::i32) {
            std::memcpy(&values[i], m.data + i * 4, 4);
        } else if (m.dtype == DType::i64) {
            std::int64_t wide;
            std::memcpy(&wide, m.data + i * 8, 8);
            values[i] = static_cast<std::int32_t>(wide);
            if (values[i] != wide)
                fail("{}: tensor {}, element {}: {} is out of range", source_, name, i, wide);
        } else {
            fail("{}: tensor {} has type {}, not one of integers", source_, name, cachalot::name(m.dtype));
        }
    }
    return values;
}

}  // namespace cachalot
