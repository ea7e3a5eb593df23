// Rows of any type to float32 and back. Scalar and simple: this is the definition that the kernels are tested
// against, and what `cachalot convert` uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/matrix.h"

namespace cachalot {

// True for the types that dequantize_row understands: everything but the integer types.
bool is_float_like(DType type);

// Decodes one block of a type whose blocks carry all that they need; null for the others.
using BlockDecoder = void (*)(const std::byte* block, float* out);
BlockDecoder block_decoder(DType type);

// Row `row` of the matrix as float32; out has matrix.columns elements.
void dequantize_row(const Matrix& matrix, std::int64_t row, std::span<float> out);

// One row in f32, f16, bf16, q8_0 or mxfp4; out has row_bytes(type, values.size()) bytes. Rounds to nearest
// even; q8_0: scale = max|x| / 127 (as f16); mxfp4: OCP MX rule, the scale is the largest power of two that
// keeps max|x| / scale below 8, values saturate at 6. Throws Error for another type or a value that is not
// finite.
void quantize_row(DType type, std::span<const float> values, std::span<std::byte> out);

// fp4_pairs (release layout) to mxfp4 (GGUF layout): the same codes and scales in another order, bit for bit.
// Takes one row of `columns` values; out has row_bytes(mxfp4, columns) bytes.
void repack_fp4_row(const std::uint8_t* pairs, const std::uint8_t* scales, std::int64_t columns,
                    std::span<std::byte> out);
// And back: columns / 2 bytes of pairs, columns / 32 scales.
void unpack_mxfp4_row(const std::byte* blocks, std::int64_t columns, std::uint8_t* pairs,
                      std::uint8_t* scales);

}  // namespace cachalot
