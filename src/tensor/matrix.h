// A weight matrix as it lies in a file: y = W x with W [rows, columns] row-major, rows = outputs.
//
// The kernels compute straight from these bytes; nothing is unpacked ahead of time. Types that keep their
// scales in a second tensor (f8_e4m3, fp4_pairs) carry a pointer to it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace cachalot {

inline constexpr int kFp8Block = 128;  // an f8_e4m3 scale covers a 128 x 128 block
inline constexpr int kFp4Block = 32;   // an fp4 scale covers 32 columns of one row

struct Matrix {
    DType dtype = DType::f32;
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    const std::byte* data = nullptr;
    std::int64_t stride = 0;  // bytes from row to row
    const std::uint8_t* scales =
        nullptr;  // E8M0; f8_e4m3: [rows/128, columns/128] rounded up; fp4_pairs: [rows, columns/32]
    std::int64_t scale_stride = 0;  // bytes from one row of scales to the next

    const std::byte* row(std::int64_t r) const { return data + r * stride; }
    const std::uint8_t* row_scales(std::int64_t r) const {
        return scales + (dtype == DType::f8_e4m3 ? r / kFp8Block : r) * scale_stride;
    }
    // Rows [first, first + count) as a matrix of their own; `first` must be a multiple of 128 for f8_e4m3.
    Matrix slice(std::int64_t first, std::int64_t count) const {
        Matrix m = *this;
        m.rows = count;
        m.data = row(first);
        if (scales) m.scales = row_scales(first);
        return m;
    }
    // Bytes read when the whole matrix is used once.
    std::int64_t bytes() const {
        std::int64_t scale_rows = !scales                   ? 0
                                  : dtype == DType::f8_e4m3 ? (rows + kFp8Block - 1) / kFp8Block
                                                            : rows;
        return rows * stride + scale_rows * scale_stride;
    }
};

}  // namespace cachalot
