#include "model/convert.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "file/gguf_writer.h"
#include "model/tensor_names.h"
#include "tensor/convert.h"

namespace cachalot {
namespace {

constexpr std::int64_t kPieceBytes = std::int64_t(8) << 20;  // converted and written at a time

// The type that holds every value of `type` in a GGUF file.
DType lossless(DType type) {
    switch (type) {
        case DType::fp4_pairs: return DType::mxfp4;
        case DType::f8_e4m3: return DType::bf16;
        default: return type;
    }
}

void check_target(const std::optional<DType>& type) {
    if (!type) return;
    switch (*type) {
        case DType::f32:
        case DType::f16:
        case DType::bf16:
        case DType::q8_0:
        case DType::mxfp4: return;
        default: fail("cannot write tensors of type {} (choose f32, f16, bf16, q8_0 or mxfp4)", name(*type));
    }
}

class Converter {
  public:
    Converter(const Checkpoint& checkpoint, const std::filesystem::path& output,
              const ConvertOptions& options, const ConvertProgress& progress)
        : source_(checkpoint),
          options_(options),
          progress_(progress),
          writer_(output),
          pool_(options.threads) {
        for (const auto& type : {options.experts, options.dense, options.embeddings}) check_target(type);
    }

    ConvertSummary run() {
        auto specs = model_tensors(source_.config());
        source_.write_metadata(writer_);
        for (const auto& spec : specs) declare(spec);
        summary_.bytes = writer_.file_size();
        summary_.tensors = static_cast<int>(specs.size());
        for (const auto& spec : specs) write(spec);
        writer_.finish();
        return summary_;
    }

  private:
    // The tensor, or for experts the first of them.
    Matrix first_matrix(const TensorSpec& s) const {
        return s.kind == TensorSpec::Kind::experts ? source_.expert(s.gguf, 0, s.experts, s.rows, s.columns)
                                                   : source_.matrix(s.gguf, s.rows, s.columns);
    }

    DType target(const TensorSpec& s, DType stored) const {
        std::optional<DType> chosen;
        if (s.role == TensorSpec::Role::experts) chosen = options_.experts;
        if (s.role == TensorSpec::Role::dense) chosen = options_.dense;
        if (s.role == TensorSpec::Role::embeddings) chosen = options_.embeddings;
        return chosen.value_or(lossless(stored));
    }

    void declare(const TensorSpec& s) {
        std::vector<std::int64_t> shape = {s.rows, s.columns};
        if (s.rows == 1) shape = {s.columns};
        DType type = DType::f32;
        if (s.kind == TensorSpec::Kind::integers) type = DType::i32;
        if (s.kind == TensorSpec::Kind::experts) shape.insert(shape.begin(), s.experts);
        if (s.kind == TensorSpec::Kind::matrix || s.kind == TensorSpec::Kind::experts)
            type = target(s, first_matrix(s).dtype);
        writer_.declare(s.gguf, type, shape);
    }

    void write(const TensorSpec& s) {
        if (s.kind == TensorSpec::Kind::floats) {
            auto values = source_.floats(s.gguf, s.rows, s.columns);
            append(s.gguf, std::as_bytes(std::span(values)));
        } else if (s.kind == TensorSpec::Kind::integers) {
            auto values = source_.integers(s.gguf, s.rows, s.columns);
            append(s.gguf, std::as_bytes(std::span(values)));
        } else {
            Matrix first = first_matrix(s);
            DType type = target(s, first.dtype);
            if (type != first.dtype && type != lossless(first.dtype) && type != DType::f32)
                ++summary_.changed;
            write_matrix(s, first, type);
            for (int e = 1; e < s.experts; ++e) {
                Matrix m = source_.expert(s.gguf, e, s.experts, s.rows, s.columns);
                if (m.dtype != first.dtype)
                    fail("{}: tensor {}: expert {} has type {}, expert 0 {}", source_.source(), s.gguf, e,
                         name(m.dtype), name(first.dtype));
                write_matrix(s, m, type);
            }
        }
    }

    void write_matrix(const TensorSpec& s, const Matrix& m, DType type) {
        std::int64_t stride = row_bytes(type, m.columns);
        std::int64_t rows_per_piece = std::max<std::int64_t>(1, kPieceBytes / stride);
        for (std::int64_t first = 0; first < m.rows; first += rows_per_piece) {
            std::int64_t count = std::min(rows_per_piece, m.rows - first);
            piece_.resize(static_cast<std::size_t>(count * stride));
            constexpr std::int64_t kRows = 16;
            pool_.parallel_for((count + kRows - 1) / kRows, [&](std::int64_t item, int) {
                std::vector<float> values(static_cast<std::size_t>(m.columns));
                for (std::int64_t r = item * kRows; r < std::min(count, (item + 1) * kRows); ++r) {
                    std::span<std::byte> out(piece_.data() + r * stride, static_cast<std::size_t>(stride));
                    convert_row(m, first + r, type, values, out);
                }
            });
            append(s.gguf, piece_);
        }
    }

    static void convert_row(const Matrix& m, std::int64_t row, DType type, std::span<float> values,
                            std::span<std::byte> out) {
        if (type == m.dtype) {
            std::memcpy(out.data(), m.row(row), out.size());
        } else if (type == DType::mxfp4 && m.dtype == DType::fp4_pairs) {
            repack_fp4_row(reinterpret_cast<const std::uint8_t*>(m.row(row)), m.row_scales(row), m.columns,
                           out);
        } else {
            dequantize_row(m, row, values);
            quantize_row(type, values, out);
        }
    }

    void append(const std::string& name, std::span<const std::byte> bytes) {
        writer_.append(name, bytes);
        done_ += bytes.size();
        if (progress_) progress_(done_, summary_.bytes);
    }

    const Checkpoint& source_;
    const ConvertOptions& options_;
    const ConvertProgress& progress_;
    GgufWriter writer_;
    ThreadPool pool_;
    std::vector<std::byte> piece_;
    std::uint64_t done_ = 0;
    ConvertSummary summary_;
};

}  // namespace

ConvertSummary convert(const Checkpoint& checkpoint, const std::filesystem::path& output,
                       const ConvertOptions& options, const ConvertProgress& progress) {
    return Converter(checkpoint, output, options, progress).run();
}

}  // namespace cachalot
