// Views of a sequence's attention state, as the kernels see it. The state itself lives in src/state.
//
// A row is one cached vector. Its format is fixed for a run:
//
//   f32      n floats
//   fp8_kv   | n-R e4m3 bytes | R bf16 (the rotated dims) | one E8M0 byte per 64 of the n-R | padding to 8 |
//   fp4_key  | n/2 bytes, low nibble = even element | one E8M0 byte per 32 |
//
// The last two hold exactly what the reference computes after its rounding, in a sixth of the space.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cachalot {

inline constexpr int kKvQuantGroup = 64;   // latent values that share an FP8 scale
inline constexpr int kKeyQuantGroup = 32;  // indexer values that share an FP4 scale

struct RowFormat {
    enum class Kind : std::uint8_t { f32, fp8_kv, fp4_key } kind = Kind::f32;
    int size = 0;    // n, elements of the vector
    int rotary = 0;  // R, rotated elements at its end

    bool operator==(const RowFormat&) const = default;

    std::int64_t bytes() const {
        switch (kind) {
            case Kind::fp8_kv:
                return (size - rotary + 2 * rotary + (size - rotary) / kKvQuantGroup + 7) / 8 * 8;
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

    std::byte* row(std::int64_t position) const { return data + position % capacity * row_bytes; }
    float* floats(std::int64_t position) const { return reinterpret_cast<float*>(row(position)); }
};

// Rows by index, a power of two of them in each page.
struct PagedView {
    std::byte* const* pages = nullptr;
    int page_shift = 0;  // log2(rows per page)
    std::int64_t row_bytes = 0;
    std::int64_t offset = 0;  // of the first row in each page, bytes

    std::byte* row(std::int64_t index) const {
        auto within = index & ((std::int64_t(1) << page_shift) - 1);
        return pages[index >> page_shift] + offset + within * row_bytes;
    }
};

// Rotation by position: angle[i] = float(position) * frequency[i], pairs (x[2i], x[2i+1]) of the last R dims.
struct RotaryView {
    const float* cosine = nullptr;  // [rows, R/2]
    const float* sine = nullptr;    // [rows, R/2]
    int half = 0;                   // R/2
};

}  // namespace cachalot
