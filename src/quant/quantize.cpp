#include "quant/quantize.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/cpu_features.h"
#include "base/error.h"
#include "quant/table.h"
#include "tensor/convert.h"

namespace cachalot {
namespace {

constexpr float kLargestHalf = 65504;

quant::BlockQuantizer block_quantizer(DType type) {
#ifdef CACHALOT_QUANT_AVX2
    static const bool avx2 = cpu_features().avx2;
    if (avx2) return quant::find_avx2(type);
#endif
    return quant::find_generic(type);
}

bool is_plain(DType type) { return type == DType::f32 || type == DType::f16 || type == DType::bf16; }

}  // namespace

bool can_quantize(DType type) { return is_plain(type) || quant::find_generic(type); }

std::string_view quantizable_types() {
    return "f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, mxfp4, q2_k, q3_k, q4_k, q5_k, q6_k, iq2_xxs, "
           "iq3_xxs";
}

void quantize(DType type, std::span<const float> values, std::span<const float> importance,
              std::span<std::byte> out) {
    if (is_plain(type)) return quantize_row(type, values, out);
    const auto block = block_quantizer(type);
    if (!block) fail("cannot convert to type {} (choose one of {})", name(type), quantizable_types());
    CACHALOT_CHECK(static_cast<std::int64_t>(out.size()) ==
                   row_bytes(type, static_cast<std::int64_t>(values.size())));
    CACHALOT_CHECK(importance.empty() || importance.size() == values.size());
    for (float v : values) {
        if (!std::isfinite(v)) fail("cannot quantise: the value {} is not finite", v);
        // Scales are halves. A weight of a network is nowhere near.
        if (type != DType::mxfp4 && std::fabs(v) > kLargestHalf)
            fail("cannot quantise to {}: the value {} is larger than {}", name(type), v, kLargestHalf);
    }
    static constexpr auto kOnes = [] {
        std::array<float, 256> ones{};
        ones.fill(1);
        return ones;
    }();
    const auto n = static_cast<std::size_t>(info(type).elements),
               bytes = static_cast<std::size_t>(info(type).bytes);
    for (std::size_t i = 0, b = 0; i < values.size(); i += n, b += bytes)
        block(&values[i], importance.empty() ? kOnes.data() : &importance[i], &out[b]);
}

bool usable_importance(std::span<float> mean_squares) {
    double total = 0;
    for (float& v : mean_squares) {
        if (!std::isfinite(v) || v < 0) v = 0;
        total += v;
    }
    if (!(total > 0)) return false;
    const double mean = total / static_cast<double>(mean_squares.size());
    for (float& v : mean_squares) v = static_cast<float>(std::max(v / mean, 1e-3));
    return true;
}

}  // namespace cachalot
