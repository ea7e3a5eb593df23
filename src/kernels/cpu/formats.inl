// How weights are unpacked from the layout of the file: one struct for each type. Included by kernels.inl.
//
// Float types say vector(row, scales, k): kStep columns of one row from column k, as a Vector; and of
// activations, what they are multiplied by: inputs(a) and their stride.
//
// Products of integer types work on kLanes rows of weights at a time, a row in each lane of a vector (a
// strip), so that a sum needs no adding across lanes and its scale is applied to all rows at once. What lies
// along a row in the file must be turned to lie across rows; gather() does that for 16 bytes of each row,
// still packed, which is cheaper than after.
//
// An integer type says
//     kCodes, kOffset     what its codes can be (table.h): weight = scale * (code - kOffset) + minimum;
//                         of scaled codes: scale * factor * code + minimum
//     kMinimums           minimums for each group of 32 columns: 0, 1, or 2 (one for each 16)
//     kUnit, kUnitBytes   columns that are unpacked together: 32, 64, 128 or 256; bytes of a row that hold
//                         them
//     header(strip, k, groups, h)   scales, minimums, factors of `groups` <= 8 groups from column k, a
//                                   multiple of 256
//     codes(strip, k, out)          out[i] = columns k + 4i .. k + 4i + 3, for kUnit columns
// Formats whose blocks are 256 long find their block at column k / 256 * 256.

constexpr int kLanes = F::kWidth;
constexpr int kChunk = 256;  // columns whose scales are unpacked together

// kLanes rows; where a matrix ends within the strip, the last row repeats.
struct Strip {
    const std::byte* rows[kLanes];
    const std::uint8_t* scales[kLanes];  // of types that keep them apart

    Strip(const Matrix& w, std::int64_t first, std::int64_t last) {
        for (int i = 0; i < kLanes; ++i) {
            std::int64_t n = std::min(first + i, last - 1);
            rows[i] = w.row(n);
            scales[i] = w.scales ? w.row_scales(n) : nullptr;
        }
    }
};

struct Header {
    alignas(64) float scales[kChunk / 32][kLanes];
    // Added to each weight: the formats' minimums, negated.
    alignas(64) float minimums[kChunk / 32][2][kLanes];
    U factors[kChunk / 32][2];  // of scaled codes, for each 16 columns
};

// ---- float types

struct UsualRules {};  // for denormals
struct FloatType {
    using Vector = F;
    using Rules = UsualRules;
    static constexpr bool kSimple = true;  // unpacking a vector costs next to nothing
    static constexpr int kStep = kLanes;
    static const float* inputs(const Activations& a) { return a.x; }
    static std::int64_t stride(const Activations& a) { return a.stride; }
};
struct FromF32 : FloatType {
    static F vector(const std::byte* row, const std::uint8_t*, std::int64_t k) {
        return load(reinterpret_cast<const float*>(row) + k);
    }
};
struct FromF16 : FloatType {
    static F vector(const std::byte* row, const std::uint8_t*, std::int64_t k) {
        return load_f16(reinterpret_cast<const std::uint16_t*>(row) + k);
    }
};
struct FromBf16 : FloatType {
    static F vector(const std::byte* row, const std::uint8_t*, std::int64_t k) {
        return load_bf16(row + 2 * k);
    }
};
template <int kBlock>  // columns that share a scale
struct FromE4m3 : FloatType {
    static constexpr bool kSimple = false;
    static F vector(const std::byte* row, const std::uint8_t* scales, std::int64_t k) {
        return load_e4m3(row + k) * broadcast(cachalot::e8m0_to_f32(scales[k / kBlock]));
    }
};

#if defined(CACHALOT_SIMD_HAS_BF16)
// BF16 by activations that were rounded to it.
struct Bf16Pairs {
    using Vector = B;
    using Rules = UsualRules;
    static constexpr bool kSimple = true;
    static constexpr int kStep = B::kWidth;
    static const std::uint16_t* inputs(const Activations& a) { return a.b; }
    static std::int64_t stride(const Activations& a) { return a.b_stride; }
    static B vector(const std::byte* row, const std::uint8_t*, std::int64_t k) {
        return load(reinterpret_cast<const std::uint16_t*>(row) + k);
    }
};
// FP8 the same way: BF16 holds each value of E4M3 times a power of two, and a file of either type gives the
// same bits.
template <int kBlock>
struct E4m3Pairs : Bf16Pairs {
    static constexpr bool kSimple = false;
    static B vector(const std::byte* row, const std::uint8_t* scales, std::int64_t k) {
#if defined(CACHALOT_SIMD_HAS_E4M3_TO_BF16)
        if (fits_bf16(scales[k / kBlock])) return e4m3_to_bf16(row + k, scales[k / kBlock]);
#endif
        using From = FromE4m3<kBlock>;
        return round_to_bf16(From::vector(row, scales, k), From::vector(row, scales, k + kLanes));
    }
};
#endif

// The format that one row of activations is multiplied by.
template <class Format>
struct OfOneRow {
    using Type = Format;
};
#if defined(CACHALOT_SIMD_HAS_HALVES)
// Pairs that are taken apart for more than one row of activations: on Intel's processors a product of pairs
// takes as long as four of single numbers.
template <class Pairs>
struct ByHalves : Pairs {
    using Vector = Halves;
    using Rules = FlushDenormals;
    static Halves vector(const std::byte* row, const std::uint8_t* scales, std::int64_t k) {
        return halves(Pairs::vector(row, scales, k));
    }
};
template <class Pairs>
struct OfOneRow<ByHalves<Pairs>> {
    using Type = Pairs;
};
#endif

// ---- integer types

// Twice the E2M1 value of a code, offset to be positive.
constexpr int kE2m1Offset = 12;
constexpr std::uint8_t kE2m1[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

// Scales of one or two bytes, four bytes of them for each row. Group g of a row has its scale at first(lane)
// + g * kStride.
template <int kStride, int kBytes, class First>
inline U collect(int groups, First first) {
    std::uint8_t lanes[kLanes][4] = {};
    for (int i = 0; i < kLanes; ++i)
        for (int g = 0; g < 4 / kBytes; ++g)
            if (g < groups) __builtin_memcpy(lanes[i] + g * kBytes, first(i) + g * kStride, kBytes);
    return load_lanes(lanes);
}

// Four groups from kFirst on. Half the scales, since the codes are doubled.
template <int kFirst>
inline void e2m1_scales(U bytes, Header& h) {
    store(h.scales[kFirst], from_e8m0<0>(bytes) * broadcast(0.5f));
    store(h.scales[kFirst + 1], from_e8m0<1>(bytes) * broadcast(0.5f));
    store(h.scales[kFirst + 2], from_e8m0<2>(bytes) * broadcast(0.5f));
    store(h.scales[kFirst + 3], from_e8m0<3>(bytes) * broadcast(0.5f));
}

struct Mxfp4 {
    static constexpr Codes kCodes = Codes::narrow;
    static constexpr int kOffset = kE2m1Offset, kMinimums = 0, kUnit = 32, kUnitBytes = 17;
    static constexpr int kBlock = 17;

    static void header(const Strip& s, std::int64_t k, int groups, Header& h) {
        const std::int64_t at = k / 32 * kBlock;
        auto four = [&](int g) {
            if (groups - g >= 4) return pick<0, kBlock, 2 * kBlock, 3 * kBlock>(s.rows, at + g * kBlock);
            return collect<kBlock, 1>(groups - g, [&](int i) { return s.rows[i] + at + g * kBlock; });
        };
        e2m1_scales<0>(four(0), h);
        if (groups > 4) e2m1_scales<4>(four(4), h);
    }
    static void codes(const Strip& s, std::int64_t k, U* out) {
        U packed[4];
        gather(s.rows, k / 32 * kBlock + 1, packed);
        for (int i = 0; i < 4; ++i) {
            out[i] = lookup(kE2m1, low_nibbles(packed[i]));
            out[4 + i] = lookup(kE2m1, high_nibbles(packed[i]));
        }
    }
};

struct Fp4Pairs {
    static constexpr Codes kCodes = Codes::narrow;
    static constexpr int kOffset = kE2m1Offset, kMinimums = 0, kUnit = 32, kUnitBytes = 16;

    static void header(const Strip& s, std::int64_t k, int groups, Header& h) {
        auto four = [&](int g) {
            return collect<1, 1>(groups - g, [&](int i) { return s.scales[i] + k / 32 + g; });
        };
        e2m1_scales<0>(four(0), h);
        if (groups > 4) e2m1_scales<4>(four(4), h);
    }
    static void codes(const Strip& s, std::int64_t k, U* out) {
        U packed[4], nibbles[2];
        gather(s.rows, k / 2, packed);
        for (int i = 0; i < 4; ++i) {
            interleave_nibbles(packed[i], nibbles);
            out[2 * i] = lookup(kE2m1, nibbles[0]);
            out[2 * i + 1] = lookup(kE2m1, nibbles[1]);
        }
    }
};

struct Q8_0 {
    static constexpr Codes kCodes = Codes::full;
    static constexpr int kOffset = kSignedFull ? 0 : 128, kMinimums = 0, kUnit = 32, kUnitBytes = 34;
    static constexpr int kBlock = 34;

    static void header(const Strip& s, std::int64_t k, int groups, Header& h) {
        for (int g = 0; g < groups; g += 2) {
            const std::int64_t at = (k / 32 + g) * kBlock;
            const U halves = g + 1 < groups ? pick<0, 1, kBlock, kBlock + 1>(s.rows, at)
                                            : collect<kBlock, 2>(1, [&](int i) { return s.rows[i] + at; });
            store(h.scales[g], from_f16<0>(halves));
            store(h.scales[g + 1], from_f16<1>(halves));
        }
    }
    static void codes(const Strip& s, std::int64_t k, U* out) {
        for (int half = 0; half < 2; ++half) {
            U bytes[4];
            gather(s.rows, k / 32 * kBlock + 2 + 16 * half, bytes);
            for (int i = 0; i < 4; ++i) out[4 * half + i] = kSignedFull ? bytes[i] : flip_sign(bytes[i]);
        }
    }
};

// An integer type as floats, for activations that stay float32.
template <class Format>
struct FromCodes {
    static void values(const Strip& s, std::int64_t k, int columns, F* out) {
        constexpr bool is_signed = kSignedFull && Format::kCodes == Codes::full;
        const F offset = broadcast(is_signed ? 128 : Format::kOffset);
        Header h;
        Format::header(s, k, columns / 32, h);
        for (int c = 0; c < columns; c += Format::kUnit) {
            U u[Format::kUnit / 4];
            Format::codes(s, k + c, u);
            for (int i = 0; i < Format::kUnit / 4; ++i) {
                int at = c + 4 * i, g = at / 32;
                F scale = load(h.scales[g]);
                U byte = is_signed ? flip_sign(u[i]) : u[i];
                F w[4] = {from_byte<0>(byte), from_byte<1>(byte), from_byte<2>(byte), from_byte<3>(byte)};
                for (int j = 0; j < 4; ++j) {
                    F value = (w[j] - offset) * scale;
                    if constexpr (Format::kCodes == Codes::scaled)
                        value = value * from_byte<0>(h.factors[g][at / 16 % 2]);
                    if constexpr (Format::kMinimums)
                        value = value + load(h.minimums[g][Format::kMinimums == 2 ? at / 16 % 2 : 0]);
                    out[at + j] = value;
                }
            }
        }
    }
};
