// Views of a sequence's attention state, as the kernels see it. The state itself lives in src/state.
//
// A row is one cached vector. Its format is fixed for a run:
//
//   f32      n floats
//   fp8_kv   | n-R e4m3 bytes | R bf16 (the rotated dims) | one E8M0 byte per 64 of the n-R | padding to 8 |
//   fp8_32   | n e4m3 bytes | one E8M0 byte per 32 |
//   fp4_16   | n/2 bytes, low nibble = even element | one e4m3 byte per 16 |
//   fp4_key  | n/2 bytes, low nibble = even element | one E8M0 byte per 32 |
//
// All but the first hold exactly what the reference computes after its rounding, in a fraction of the space.
// Window rows and compressed rows are fp8_kv in V4; in V4.1 window rows are fp8_32 and compressed ones
// fp4_16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/device_function.h"

namespace cachalot {

inline constexpr int kKvQuantGroup = 64;   // values of fp8_kv that share a scale
inline constexpr int kFp8QuantGroup = 32;  // of fp8_32
inline constexpr int kFp4QuantGroup = 16;  // of fp4_16
inline constexpr int kKeyQuantGroup = 32;  // of fp4_key

struct RowFormat {
    enum class Kind : std::uint8_t { f32, fp8_kv, fp8_32, fp4_16, fp4_key } kind = Kind::f32;
    int size = 0;    // n, elements of the vector
    int rotary = 0;  // R, rotated elements at its end

    bool operator==(const RowFormat&) const = default;

    CACHALOT_BOTH std::int64_t bytes() const {
        switch (kind) {
            case Kind::fp8_kv:
                return (size - rotary + 2 * rotary + (size - rotary) / kKvQuantGroup + 7) / 8 * 8;
            case Kind::fp8_32: return size + size / kFp8QuantGroup;
            case Kind::fp4_16: return size / 2 + size / kFp4QuantGroup;
            case Kind::fp4_key: return size / 2 + size / kKeyQuantGroup;
            case Kind::f32: break;
        }
        return 4 * static_cast<std::int64_t>(size);
    }
};

// Rows by absolute token position, in a ring: position p lies in slot p mod capacity.
struct RingView {
    std::byte* data = nullptr;
    std::int64_t capacity = 0;
    std::int64_t row_bytes = 0;

    CACHALOT_BOTH std::byte* row(std::int64_t position) const {
        return data + position % capacity * row_bytes;
    }
    CACHALOT_BOTH float* floats(std::int64_t position) const {
        return reinterpret_cast<float*>(row(position));
    }
};

// Rows by index. Row j is of the tokens j * ratio .. j * ratio + ratio - 1 and lies in the page of the last
// one.
struct PagedView {
    static constexpr int kPageShift = 8;  // log2 of a page's tokens

    std::byte* const* pages = nullptr;
    int ratio = 1;  // tokens of a row
    std::int64_t row_bytes = 0;
    std::int64_t offset = 0;  // of the first row in each page, bytes

    CACHALOT_BOTH static std::int64_t page_of(std::int64_t row, int ratio) {
        return ((row + 1) * ratio - 1) >> kPageShift;
    }
    // The first row of a page, or of a later one if the page has none.
    CACHALOT_BOTH static std::int64_t first_of(std::int64_t page, int ratio) {
        return (page << kPageShift) / ratio;
    }

    CACHALOT_BOTH std::byte* row(std::int64_t index) const {
        const auto page = page_of(index, ratio);
        return pages[page] + offset + (index - first_of(page, ratio)) * row_bytes;
    }
};

// Rotation by position: angle[i] = float(position) * frequency[i], pairs (x[2i], x[2i+1]) of the last R dims.
struct RotaryView {
    const float* cosine = nullptr;  // [rows, R/2]
    const float* sine = nullptr;    // [rows, R/2]
    int half = 0;                   // R/2
};

}  // namespace cachalot
