// The vocabulary of GGUF files, shared by reader and writer.
//
//   | "GGUF" | u32 version | u64 tensors | u64 keys | keys | directory | padding | data |
//   key:       string name | u32 value type | value            string: u64 length | bytes, not terminated
//   array:     u32 element type | u64 count | elements
//   directory: string name | u32 dimensions | u64 each, contiguous one first | u32 ggml type | u64 offset
//
// Offsets count from `data`, which starts on a multiple of the alignment, as does every tensor in it. All
// integers are little endian.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tensor/dtype.h"

namespace cachalot {

inline constexpr std::string_view kGgufMagic = "GGUF";
inline constexpr std::uint32_t kGgufVersion = 3;
inline constexpr std::uint32_t kGgufAlignment = 32;  // unless general.alignment says otherwise

enum class GgufType : std::uint32_t {
    u8,
    i8,
    u16,
    i16,
    u32,
    i32,
    f32,
    boolean,
    string,
    array,
    u64,
    i64,
    f64
};
inline constexpr std::uint32_t kGgufTypes = 13;

std::string_view name(GgufType type);       // "u32", "str"
std::uint32_t encoded_size(GgufType type);  // of one value; 0 for string and array, whose size varies

// A type of our own, for FP8 matrices kept as a release has them: one E4M3 byte a value. Their scales, one
// E8M0 byte for each block of 128 x 128 (V4.1: 32 x 32), are the I8 tensor beside it whose name ends in
// ".scale" for ".weight". The number is far from those that ggml gives out, so other programs refuse the
// file, naming tensor and type, and cannot misread it.
inline constexpr std::uint32_t kGgmlF8 = 0xf8e4;

// Types of tensors, numbered as in ggml.
std::optional<DType> dtype_from_ggml(std::uint32_t id);  // none if we cannot compute with it
std::uint32_t ggml_from_dtype(DType type);               // throws Error if GGUF has no such type
std::string ggml_type_name(std::uint32_t id);  // "BF16"; "Q6_K (14)" and "unknown type 42" if unsupported

}  // namespace cachalot
