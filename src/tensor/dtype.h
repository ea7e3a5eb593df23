// Every element type that a file can hold, with its block layout.
//
// A plain type is a block of one element. A quantised type packs `elements` values into `bytes` bytes along
// the contiguous dimension. Two types of DeepSeek's releases keep their scales in a second tensor beside the
// first:
//
//   f8_e4m3    1 byte per value;  scales: one E8M0 byte per 128 x 128 block of the matrix (V4.1: 32 x 32)
//   fp4_pairs  2 values per byte, low nibble = even column; scales: one E8M0 byte per 32 columns of a row
//
// Blocks that carry their scale (GGUF):
//
//   mxfp4   32 values, 17 bytes   | E8M0 | 16 bytes: low nibble = values 0..15, high nibble = values 16..31 |
//   q8_0    32 values, 34 bytes   | f16 scale | 32 x int8 |
//   q4_0    32 values, 18 bytes   | f16 scale | 16 bytes: nibbles as mxfp4 |    value = (q - 8) x scale
//   q4_1    32 values, 20 bytes   | f16 scale | f16 minimum | 16 bytes |        value = q x scale + minimum
//   q5_0    32 values, 22 bytes   | f16 scale | u32: fifth bits | 16 bytes |    value = (q - 16) x scale
//   q5_1    32 values, 24 bytes   | f16 scale | f16 minimum | u32 | 16 bytes |  value = q x scale + minimum
//   iq4_nl  32 values, 18 bytes   | f16 scale | 16 bytes |                      value = a level of 16 x scale
//
// Blocks of 256 values (GGUF's "super-blocks", k_quants.h decodes them). Groups of 16 or 32 values have small
// integers s as scales and m as minimums, in units of the block's f16 d and dmin; q is unsigned, q x s x d -
// m x dmin the value:
//
//   q4_k    144 bytes   | d | dmin | 12 bytes: s and m, 6 bits each, of 8 groups of 32 | 128 bytes: q |
//                       q: byte i of piece p (32 bytes) = value 64p + i low, 64p + 32 + i in the high nibble
//   q2_k    84 bytes    | 16 bytes: s low, m high nibble, of 16 groups of 16 | 64 bytes: q | d | dmin |
//                       q: byte i of half h (32 bytes) = values 128h + i + {0, 32, 64, 96}, low bits first
//   q5_k    176 bytes   | d | dmin | 12 bytes: s and m as q4_k | 32 bytes: fifth bits | 128 bytes: q as q4_k
//                       fifth bits: byte i, bit j = value 32j + i
//   q3_k    110 bytes   | 32 bytes: third bits | 64 bytes: q as q2_k | 12 bytes: s + 32, 6 bits each | d |
//                       16 groups of 16; third bits: byte i, bit j = value 32j + i; value = (q - 4) x s x d
//   q6_k    210 bytes   | 128 bytes: low nibbles | 64 bytes: high two bits | 16 x int8: s | d |
//                       value = (q - 32) x s x d; low: byte 32p + i of half h (64 bytes) = values
//                       128h + 32p + i, and + 64 in the high nibble
//                       high: byte i of half h (32 bytes) = values 128h + i + {0, 32, 64, 96}, low bits first
//   iq4_xs  136 bytes   | d | u16: high two bits of s + 32 | 4 bytes: their low nibbles | 8 x 16 bytes: q |
//                       8 groups of 32, each as iq4_nl, value = level x s x d
//   iq2_xxs 66 bytes    | d | 8 groups of 32 values: 8 bytes each |
//                       group: | 4 bytes: four patterns of 8 magnitudes | u32: 4 x 7 bits signs, 4 bits s |
//                       value = magnitude {8, 25, 43} x sign x (s + 1/2) / 4 x d
//
// More formats made of patterns (iq_quants.h decodes them); p patterns in order, "low" and "high" bits of
// their numbers:
//
//   iq2_xs  74 bytes    | d | 32 x u16: 9 bits p, 7 bits signs of 8 values | 8 bytes: s, 4 bits each |
//                       16 groups of 16, value as iq2_xxs
//   iq2_s   82 bytes    | d | 32 bytes: low of p | 32 bytes: signs | 8 bytes: high, 2 bits | 8 bytes: s |
//                       s and value as iq2_xs
//   iq3_xxs 98 bytes    | d | 64 bytes: p of 4 values | 8 x u32: 4 x 7 bits signs of 8 values, 4 bits s |
//                       value = magnitude {4, 12, .. 52, 62} x sign x (s + 1/2) / 2 x d
//   iq3_s   110 bytes   | d | 64 bytes: low of p | 8 bytes: high, 1 bit | 32 bytes: signs | 4 bytes: s |
//                       8 groups of 32, value = magnitude {1, 3, .. 15} x sign x (2s + 1) x d
//   iq1_s   50 bytes    | d | 32 bytes: low of p | 8 x u16: 4 x 3 bits high, 3 bits s, 1 bit: h is negative |
//                       value = (digit {-1, 0, 1} + h) x (2s + 1) x d, h = 1/8
//   iq1_m   56 bytes    | 32 bytes: low of p | 16 bytes: 3 bits high, 1 bit sign of h, of two patterns |
//                       4 x u16: 4 x 3 bits s of groups of 16, 4 bits of d |   value as iq1_s
//
// E2M1 codes 0..7 are {0, .5, 1, 1.5, 2, 3, 4, 6}, bit 3 is the sign. E8M0 byte b means 2^(b-127).
#pragma once

#include <cstdint>
#include <string_view>

namespace cachalot {

enum class DType : std::uint8_t {
    f32,
    f16,
    bf16,
    i8,
    i32,
    i64,
    f8_e8m0,
    f8_e4m3,
    fp4_pairs,
    mxfp4,
    q8_0,
    q4_k,
    q2_k,
    iq2_xxs,
    q4_0,
    q4_1,
    q5_0,
    q5_1,
    q3_k,
    q5_k,
    q6_k,
    iq4_nl,
    iq4_xs,
    iq2_xs,
    iq2_s,
    iq3_xxs,
    iq3_s,
    iq1_s,
    iq1_m,
};

struct DTypeInfo {
    std::string_view name;  // as written in messages and on the command line
    int elements;           // per block
    int bytes;              // per block
};

const DTypeInfo& info(DType type);
inline std::string_view name(DType type) { return info(type).name; }

// Looks a type up by the name that info() gives it; throws Error listing the names otherwise.
DType parse_dtype(std::string_view name);

// Bytes of one row of `columns` elements. Throws Error if the row is not a whole number of blocks or
// overflows.
std::int64_t row_bytes(DType type, std::int64_t columns);

}  // namespace cachalot
