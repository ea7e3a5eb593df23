// Where the rows of an Engram table lie. They are not loaded and not touched by binding: a table is larger
// than everything else of a model, and a token reads a few rows of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "file/mapped_file.h"
#include "tensor/dtype.h"

namespace cachalot {

inline constexpr int kEngramBlock = 32;  // values of a row that share an E8M0 scale

// A part of each row: row r begins at offset + r * stride.
struct RowPart {
    const MappedFile* file = nullptr;  // of the checkpoint
    std::uint64_t offset = 0;
    std::int64_t stride = 0;
    std::int64_t bytes = 0;  // of a row

    const std::byte* row(std::int64_t r) const {
        return file->bytes().data() + offset + static_cast<std::uint64_t>(r * stride);
    }
};

// Rows of `columns` values. Those of f8_e4m3 have an E8M0 byte for each 32 values besides, in a release in a
// tensor of its own, in a GGUF file behind the values of their row. Rows of other types carry their scales.
struct EngramTable {
    std::int64_t rows = 0;
    int columns = 0;
    DType dtype = DType::f8_e4m3;
    RowPart values, scales;

    std::int64_t row_bytes() const { return values.bytes + scales.bytes; }
    std::uint64_t bytes() const { return static_cast<std::uint64_t>(rows * row_bytes()); }

    // The values of a row whose parts were read: out has `columns` elements.
    void decode(const std::byte* row_values, const std::byte* row_scales, std::span<float> out) const;
};

}  // namespace cachalot
