// A weight matrix as it lies in a file: y = W x with W [rows, columns] row-major, rows = outputs.
//
// The kernels compute straight from these bytes; nothing is unpacked ahead of time. Types that keep their
// scales in a second tensor (f8_e4m3, fp4_pairs) carry a pointer to it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/device_function.h"
#include "tensor/dtype.h"

namespace cachalot {

inline constexpr int kFp4Block = 32;  // an fp4 scale covers 32 columns of one row

// Blocks of `size` that `n` elements take, the last of which may be cut short.
constexpr std::int64_t blocks_of(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

struct Matrix {
    DType dtype = DType::f32;
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    const std::byte* data = nullptr;
    std::int64_t stride = 0;  // bytes from row to row
    const std::uint8_t* scales =
        nullptr;  // E8M0; f8_e4m3: one for each block, rounded up; fp4_pairs: [rows, columns/32]
    std::int64_t scale_stride = 0;  // bytes from one row of scales to the next
    int fp8_block = 128;            // f8_e4m3: rows and columns that share a scale, 128 or 32

    CACHALOT_BOTH const std::byte* row(std::int64_t r) const { return data + r * stride; }
    CACHALOT_BOTH const std::uint8_t* row_scales(std::int64_t r) const {
        return scales + (dtype == DType::f8_e4m3 ? r / fp8_block : r) * scale_stride;
    }
    // Rows of scales, where they are apart.
    std::int64_t scale_rows() const {
        return !scales ? 0 : dtype == DType::f8_e4m3 ? blocks_of(rows, fp8_block) : rows;
    }
    // Rows [first, first + count) as a matrix of their own; of f8_e4m3 `first` must be where a block begins.
    Matrix slice(std::int64_t first, std::int64_t count) const {
        Matrix m = *this;
        m.rows = count;
        m.data = row(first);
        if (scales) m.scales = row_scales(first);
        return m;
    }
    // Bytes read when the whole matrix is used once.
    std::int64_t bytes() const { return rows * stride + scale_rows() * scale_stride; }
};

}  // namespace cachalot
