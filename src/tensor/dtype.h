// Every element type that a file can hold, with its block layout.
//
// A plain type is a block of one element. A quantised type packs `elements` values into `bytes` bytes along the
// contiguous dimension. Two types of DeepSeek's releases keep their scales in a second tensor beside the first:
//
//   f8_e4m3    1 byte per value;  scales: one E8M0 byte per 128 x 128 block of the matrix
//   fp4_pairs  2 values per byte, low nibble = even column; scales: one E8M0 byte per 32 columns of a row
//
// Blocks that carry their scale (GGUF):
//
//   mxfp4   32 values, 17 bytes   | E8M0 | 16 bytes: low nibble = values 0..15, high nibble = values 16..31 |
//   q8_0    32 values, 34 bytes   | f16 scale | 32 x int8 |
//
// E2M1 codes 0..7 are {0, .5, 1, 1.5, 2, 3, 4, 6}, bit 3 is the sign. E8M0 byte b means 2^(b-127).
#pragma once

#include <cstdint>
#include <string_view>

namespace cachalot {

enum class DType : std::uint8_t { f32, f16, bf16, i8, i32, i64, f8_e8m0, f8_e4m3, fp4_pairs, mxfp4, q8_0 };

struct DTypeInfo {
    std::string_view name;  // as written in messages and on the command line
    int elements;           // per block
    int bytes;              // per block
};

const DTypeInfo& info(DType type);
inline std::string_view name(DType type) { return info(type).name; }

// Looks a type up by the name that info() gives it; throws Error listing the names otherwise.
DType parse_dtype(std::string_view name);

// Bytes of one row of `columns` elements. Throws Error if the row is not a whole number of blocks or overflows.
std::int64_t row_bytes(DType type, std::int64_t columns);

}  // namespace cachalot
