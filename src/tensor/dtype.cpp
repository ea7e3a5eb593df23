#include "tensor/dtype.h"

#include <array>
#include <string>

#include "base/checked.h"
#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::array<DTypeInfo, 29> kInfo = {{
    {"f32", 1, 4},        {"f16", 1, 2},       {"bf16", 1, 2},       {"i8", 1, 1},         {"i32", 1, 4},
    {"i64", 1, 8},        {"f8_e8m0", 1, 1},   {"f8_e4m3", 1, 1},    {"fp4_pairs", 2, 1},  {"mxfp4", 32, 17},
    {"q8_0", 32, 34},     {"q4_k", 256, 144},  {"q2_k", 256, 84},    {"iq2_xxs", 256, 66}, {"q4_0", 32, 18},
    {"q4_1", 32, 20},     {"q5_0", 32, 22},    {"q5_1", 32, 24},     {"q3_k", 256, 110},   {"q5_k", 256, 176},
    {"q6_k", 256, 210},   {"iq4_nl", 32, 18},  {"iq4_xs", 256, 136}, {"iq2_xs", 256, 74},  {"iq2_s", 256, 82},
    {"iq3_xxs", 256, 98}, {"iq3_s", 256, 110}, {"iq1_s", 256, 50},   {"iq1_m", 256, 56},
}};

}  // namespace

const DTypeInfo& info(DType type) {
    auto index = static_cast<std::size_t>(type);
    CACHALOT_CHECK(index < kInfo.size());
    return kInfo[index];
}

DType parse_dtype(std::string_view name) {
    std::string known;
    for (std::size_t i = 0; i < kInfo.size(); ++i) {
        if (kInfo[i].name == name) return static_cast<DType>(i);
        known += (known.empty() ? "" : ", ") + std::string(kInfo[i].name);
    }
    fail("unknown type '{}' (known: {})", name, known);
}

std::int64_t row_bytes(DType type, std::int64_t columns) {
    const auto& t = info(type);
    if (columns < 0 || columns % t.elements != 0)
        fail("a row of {} values is not a whole number of {} blocks of {}", columns, t.name, t.elements);
    return checked_mul<std::int64_t>(columns / t.elements, t.bytes, "row size");
}

}  // namespace cachalot
