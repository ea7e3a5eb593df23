// What tests of the quantisers share: the types, values to quantise, and how much is lost.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "file/gguf.h"
#include "kernels/random_data.h"
#include "quant/quantize.h"
#include "tensor/convert.h"

namespace cachalot::test {

inline constexpr DType kTypes[] = {DType::q8_0,  DType::q4_0,    DType::q4_1,   DType::q5_0, DType::q5_1,
                                   DType::mxfp4, DType::q2_k,    DType::q3_k,   DType::q4_k, DType::q5_k,
                                   DType::q6_k,  DType::iq2_xxs, DType::iq3_xxs};

using Values = std::vector<float>;

inline Values gaussian(std::size_t n, unsigned seed = 1) {
    RandomData random(seed);
    return random.vector(static_cast<std::int64_t>(n), 0.02f);
}

// Rows of the shipped model: experts (FP4 as trained) or a dense matrix.
inline Values nano(const std::string& tensor, std::size_t n) {
    static const Gguf file(std::string(CACHALOT_MODELS) + "/nano/nano.gguf");
    const TensorView& t = file.get(tensor);
    const std::int64_t columns = t.shape.back(), stride = row_bytes(t.dtype, columns);
    Values all, row(static_cast<std::size_t>(columns));
    for (std::int64_t r = 0; all.size() < n; ++r) {
        dequantize_row({t.dtype, r + 1, columns, t.data.data(), stride}, r, row);
        all.insert(all.end(), row.begin(), row.end());
    }
    all.resize(n);
    return all;
}

inline std::vector<std::byte> pack(DType type, const Values& x, std::span<const float> w = {}) {
    std::vector<std::byte> bytes(
        static_cast<std::size_t>(row_bytes(type, static_cast<std::int64_t>(x.size()))));
    quantize(type, x, w, bytes);
    return bytes;
}

inline Values unpack(DType type, const std::vector<std::byte>& bytes, std::size_t n) {
    Values y(n);
    dequantize_row(
        {type, 1, static_cast<std::int64_t>(n), bytes.data(), static_cast<std::int64_t>(bytes.size())}, 0, y);
    return y;
}

inline double error(DType type, const Values& x, std::span<const float> w = {},
                    std::span<const float> judge = {}) {
    const Values y = unpack(type, pack(type, x, w), x.size());
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
        sum += (judge.empty() ? 1.0 : judge[i]) * std::pow(static_cast<double>(x[i]) - y[i], 2);
    return sum;
}

}  // namespace cachalot::test
