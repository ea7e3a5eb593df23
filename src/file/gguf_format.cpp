#include "file/gguf_format.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

struct TypeInfo {
    std::string_view name;
    std::uint32_t size;
};
constexpr std::array<TypeInfo, kGgufTypes> kTypes = {{
    {"u8", 1},
    {"i8", 1},
    {"u16", 2},
    {"i16", 2},
    {"u32", 4},
    {"i32", 4},
    {"f32", 4},
    {"bool", 1},
    {"str", 0},
    {"arr", 0},
    {"u64", 8},
    {"i64", 8},
    {"f64", 8},
}};

constexpr std::array<std::pair<std::uint32_t, DType>, 27> kSupported = {{
    {0, DType::f32},      {1, DType::f16},     {2, DType::q4_0},          {3, DType::q4_1},
    {6, DType::q5_0},     {7, DType::q5_1},    {8, DType::q8_0},          {10, DType::q2_k},
    {11, DType::q3_k},    {12, DType::q4_k},   {13, DType::q5_k},         {14, DType::q6_k},
    {16, DType::iq2_xxs}, {20, DType::iq4_nl}, {23, DType::iq4_xs},       {24, DType::i8},
    {26, DType::i32},     {27, DType::i64},    {30, DType::bf16},         {39, DType::mxfp4},
    {17, DType::iq2_xs},  {22, DType::iq2_s},  {18, DType::iq3_xxs},      {21, DType::iq3_s},
    {19, DType::iq1_s},   {29, DType::iq1_m},  {kGgmlF8, DType::f8_e4m3},
}};

// Names by number; empty where ggml has retired the number.
constexpr std::array<std::string_view, 40> kNames = {
    "F32",    "F16",   "Q4_0",  "Q4_1",   "",      "",      "Q5_0",    "Q5_1",   "Q8_0",    "Q8_1",
    "Q2_K",   "Q3_K",  "Q4_K",  "Q5_K",   "Q6_K",  "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
    "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",    "I16",   "I32",     "I64",    "F64",     "IQ1_M",
    "BF16",   "",      "",      "",       "TQ1_0", "TQ2_0", "",        "",       "",        "MXFP4",
};

}  // namespace

std::string_view name(GgufType type) { return kTypes.at(static_cast<std::size_t>(type)).name; }

std::uint32_t encoded_size(GgufType type) { return kTypes.at(static_cast<std::size_t>(type)).size; }

std::optional<DType> dtype_from_ggml(std::uint32_t id) {
    for (const auto& [number, type] : kSupported)
        if (number == id) return type;
    return std::nullopt;
}

std::uint32_t ggml_from_dtype(DType type) {
    for (const auto& [number, known] : kSupported)
        if (known == type) return number;
    fail("GGUF has no tensor type for {}", info(type).name);
}

std::string ggml_type_name(std::uint32_t id) {
    if (id == kGgmlF8) return "F8_E4M3";
    if (id >= kNames.size() || kNames[id].empty()) return fmt::format("unknown type {}", id);
    if (dtype_from_ggml(id)) return std::string(kNames[id]);
    return fmt::format("{} ({})", kNames[id], id);
}

}  // namespace cachalot
