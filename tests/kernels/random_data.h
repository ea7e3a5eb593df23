// Random inputs for kernel tests, the same on every run.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include "tensor/convert.h"
#include "tensor/float_formats.h"
#include "tensor/matrix.h"

namespace cachalot::test {

class RandomData {
  public:
    explicit RandomData(unsigned seed) : engine_(seed) {}

    int integer(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
    float normal(float scale = 1.0f) { return std::normal_distribution<float>(0, scale)(engine_); }
    std::vector<float> vector(std::int64_t n, float scale = 1.0f) {
        std::vector<float> v(static_cast<std::size_t>(n));
        for (float& x : v) x = normal(scale);
        return v;
    }

  private:
    std::mt19937 engine_;
};

// A random weight matrix of any type that kernels take, with the memory it lives in.
struct RandomMatrix {
    std::vector<std::byte> bytes;
    std::vector<std::uint8_t> scales;
    Matrix matrix;

    RandomMatrix(DType type, std::int64_t rows, std::int64_t columns, RandomData& random,
                 int fp8_block = 128) {
        std::int64_t stride = row_bytes(type, columns);
        bytes.resize(static_cast<std::size_t>(rows * stride));
        matrix = {type, rows, columns, bytes.data(), stride};
        if (type == DType::f8_e4m3 || type == DType::fp4_pairs) {
            for (auto& b : bytes) {
                int code = random.integer(0, 255);
                if (type == DType::f8_e4m3 && (code & 0x7f) == 0x7f) code ^= 1;  // NaN
                b = static_cast<std::byte>(code);
            }
            bool fp8 = type == DType::f8_e4m3;
            matrix.fp8_block = fp8_block;
            matrix.scale_stride = fp8 ? blocks_of(columns, fp8_block) : columns / kFp4Block;
            scales.resize(
                static_cast<std::size_t>((fp8 ? blocks_of(rows, fp8_block) : rows) * matrix.scale_stride));
            for (auto& s : scales)
                s = static_cast<std::uint8_t>(random.integer(fp8 ? 112 : 118, fp8 ? 118 : 126));
            matrix.scales = scales.data();
            return;
        }
        if (block_decoder(type) && type != DType::mxfp4 &&
            type != DType::q8_0) {  // random codes; where the f16 scales lie depends on the type
            for (auto& b : bytes) b = static_cast<std::byte>(random.integer(0, 255));
            std::vector<std::size_t> units = {0};
            if (type == DType::q4_k || type == DType::q5_k || type == DType::q4_1 || type == DType::q5_1)
                units = {0, 2};
            if (type == DType::q3_k) units = {108};
            if (type == DType::q6_k) units = {208};
            if (type == DType::q2_k) units = {80, 82};
            if (type == DType::iq1_m) units = {};
            for (std::size_t block = 0; block < bytes.size();
                 block += static_cast<std::size_t>(info(type).bytes))
                for (std::size_t at : units) {
                    auto unit = f32_to_f16(0.001f * static_cast<float>(random.integer(1, 9)));
                    std::memcpy(&bytes[block + at], &unit, 2);
                }
            if (type ==
                DType::iq1_m)  // its d is in the upper bits of four words: 0x1..., between 2^-11 and 2^-10
                for (std::size_t block = 0; block < bytes.size(); block += 56)
                    bytes[block + 55] = (bytes[block + 55] & std::byte{15}) | std::byte{0x10};
            return;
        }
        for (std::int64_t r = 0; r < rows; ++r) {
            auto values = random.vector(columns, 0.1f);
            quantize_row(type, values, {bytes.data() + r * stride, static_cast<std::size_t>(stride)});
        }
    }
};

inline constexpr DType kWeightTypes[] = {
    DType::f32,   DType::f16,     DType::bf16,   DType::f8_e4m3, DType::fp4_pairs,
    DType::mxfp4, DType::q8_0,    DType::q4_k,   DType::q2_k,    DType::iq2_xxs,
    DType::q4_0,  DType::q4_1,    DType::q5_0,   DType::q5_1,    DType::q3_k,
    DType::q5_k,  DType::q6_k,    DType::iq4_nl, DType::iq4_xs,  DType::iq2_xs,
    DType::iq2_s, DType::iq3_xxs, DType::iq3_s,  DType::iq1_s,   DType::iq1_m};

// The smallest number of columns from `columns` on that rows of this type can have.
inline std::int64_t fitting_columns(DType type, std::int64_t columns) {
    std::int64_t block = info(type).elements;
    return (columns + block - 1) / block * block;
}

}  // namespace cachalot::test
