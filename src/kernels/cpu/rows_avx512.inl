// Products along rows with AVX-512, included by kernels.inl: the terms of sixteen groups of 32 columns that
// follow one another in a row of weights, for one row of activations (products.inl says what for). One struct
// for each format, with
//
//     Inputs              what it wants to know of sixteen groups of activations besides q
//     kMostInputs         rows of activations from which on strips are faster, less one
//     kBytes              of 256 columns of weights
//     kOffset             of its codes here
//     kFactors            what its sums of groups, times scales, are times the true ones, where that saves
//                         instructions
//     pack(q, packed)     puts 512 activations in the order in which it wants them
//     unpack(a)           codes and scales of 512 columns, as far as they do not depend on activations
//     terms(w, q, x)      the terms; q: the activations, packed; x: what goes with them
//
// A term is what add_group() in strips.inl adds for a group, computed by the same operations in the same
// order.
//
// The problem: memory waits for a core that takes more than some 15 cycles for 256 columns, which are four
// dot products and all that brings codes to them and sums to where they belong. Zen 4 executes two
// instructions of 512 bits in a cycle, one of them at most a permutation, one at most a product. The choice:
//
//   512 columns      fill a register with their sixteen terms, so that scales and sums of the second half
//                    cost nothing
//   quarters         of a register belong to one group each: activations are packed so that both dot products
//                    of a group add to the same four lanes, and three steps instead of seven bring the sums
//                    of both halves together
//   bits             stay in their places where they can: sums that are 16 times too large are as exact
//   one step ahead   the loop unpacks the next weights while it multiplies these: from a load to a term it
//                    takes 50 to 70 cycles, and a processor does not look far enough ahead to fill them
//
// Cycles for 256 columns on Zen 4, in the second-level cache before all this and in the first one with it
// (without what integer_row() does besides): MXFP4 24 and 14, Q8_0 24 and 20, Q4_K 21 and 16, Q2_K 23 and 18,
// IQ2_XXS 44 and 16.

constexpr int kRowStep = 2 * kChunk;  // columns

// What goes with the activations of sixteen groups. Formats need different things, and all of it should stay
// in the first-level cache.
struct OffsetInputs {
    alignas(64) float scale[16];        // of the activations, by kFactors
    alignas(64) std::int32_t base[16];  // -kOffset times the sum of q

    template <class Row>
    void put(const Int8Group& x, int lane) {
        scale[lane] = x.scale * (1 / Row::kFactors[lane % 8]);  // powers of two
        base[lane] = -Row::kOffset * (x.pair_sums[0] + x.pair_sums[1]);
    }
};
template <int kParts>
struct MinimumInputs {
    alignas(64) float scale[16];
    alignas(64) float sums[kParts][16];  // scale times the sums of q, of the whole group or of its halves

    template <class Row>
    void put(const Int8Group& x, int lane) {
        static_assert(Row::kOffset == 0);
        scale[lane] = x.scale * (1 / Row::kFactors[lane % 8]);
        if constexpr (kParts == 1)
            sums[0][lane] = x.half_sums[0] + x.half_sums[1];
        else
            for (int i = 0; i < 2; ++i) sums[i][lane] = x.half_sums[i];
    }
};

inline __m512i bytes_64(const void* p) {
    __m512i a = _mm512_loadu_si512(p);
#if !defined(CACHALOT_SIMD_EMULATED)
    asm("" : "+v"(a));  // else compilers load it again for each use, across two cache lines
#endif
    return a;
}
inline __m512i products(__m512i codes, const std::int8_t* q) {
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, _mm512_load_si512(q));
}
inline __m512i products(__m512i codes, const std::int8_t* q, __m512i sum) {
    return _mm512_dpbusd_epi32(sum, codes, _mm512_load_si512(q));
}
inline __m512i add_pairs(__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

// Sums of eight groups, of which each quarter of a register has one, in four lanes.
struct Quarters {
    __m512i a, b;
};
// In quarter p: the group in quarter p of a, then of b, of the first eight, then of the second.
inline __m512i add_quarters(const Quarters& first, const Quarters& second) {
    const __m512i u = add_pairs(first.a, first.b), v = add_pairs(second.a, second.b);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(u, v), _mm512_unpackhi_epi64(u, v));
}
// All sixteen in order, where a has groups 0 to 3 and b groups 4 to 7 of eight ..
inline __m512i in_order(__m512i quarters) {
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                                    quarters);
}
// .. and where a has the even ones and b the odd ones.
inline __m512i in_turns(__m512i quarters) {
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15),
                                    quarters);
}

inline __m512 term(__m512i dots, __m512 scales, const float* x_scales) {
    return _mm512_mul_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(scales, _mm512_load_ps(x_scales)));
}
inline __m512 term(__m512i dots, __m512 scales, const OffsetInputs& x) {
    return term(_mm512_add_epi32(dots, _mm512_load_si512(x.base)), scales, x.scale);
}

// What lies at a in the lower half, what lies at b in the upper one, again and again.
inline __m256i two_words(const std::byte* a, const std::byte* b) {
    std::uint16_t first, second;
    __builtin_memcpy(&first, a, 2);
    __builtin_memcpy(&second, b, 2);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi16(static_cast<short>(first))),
                                   _mm_set1_epi16(static_cast<short>(second)), 1);
}
inline __m256i two_integers(const std::byte* a, const std::byte* b) {
    int first, second;
    __builtin_memcpy(&first, a, 4);
    __builtin_memcpy(&second, b, 4);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi32(first)), _mm_set1_epi32(second), 1);
}
// Two floats of 16 bits that follow each other in either half.
struct HalfPairs {
    __m512 first, second;
    HalfPairs(const std::byte* a, const std::byte* b) {
        const __m512 pairs = _mm512_cvtph_ps(two_integers(a, b));
        first = _mm512_shuffle_ps(pairs, pairs, 0xa0), second = _mm512_shuffle_ps(pairs, pairs, 0xf5);
    }
};
inline __m512 sixteen_bytes(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }

constexpr float kAllTimes1[8] = {1, 1, 1, 1, 1, 1, 1, 1};
constexpr float kAllTimes2[8] = {2, 2, 2, 2, 2, 2, 2, 2};
constexpr float kAllTimes8[8] = {8, 8, 8, 8, 8, 8, 8, 8};

// Puts pieces of sixteen activations in this order, in either half.
inline void pack_pieces(const std::int8_t* q, const int (&order)[16], std::int8_t* packed) {
    for (int half : {0, kChunk})
        for (int i = 0; i < 16; ++i) __builtin_memcpy(packed + half + 16 * i, q + half + 16 * order[i], 16);
}
// The first halves of groups 0 to 3, the second ones, those of groups 4 to 7.
inline void pack_quarters(const std::int8_t* q, std::int8_t* packed) {
    pack_pieces(q, {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15}, packed);
}

#if defined(__AVX512VBMI__) || defined(CACHALOT_SIMD_EMULATED)
#define CACHALOT_ROWS_BY_BYTES
// Byte i of the result: byte at(i) from some address on, of which two registers have what begins kLow and
// kHigh bytes further on.
template <int kLow, int kHigh, class At>
constexpr auto places_of(At at) {
    struct alignas(64) {
        std::uint8_t of[64] = {};
    } places;
    for (int i = 0; i < 64; ++i) {
        const int byte = at(i);
        places.of[i] = static_cast<std::uint8_t>(byte < kLow + 64 ? byte - kLow : byte - kHigh + 64);
    }
    return places;
}
// table[] of the low and of the high nibbles. The instruction looks at six bits, so the table is there four
// times.
inline __m512i lookup_low(__m512i table, __m512i a) { return _mm512_permutexvar_epi8(a, table); }
inline __m512i lookup_high(__m512i table, __m512i a) {
    return _mm512_permutexvar_epi8(_mm512_srli_epi16(a, 4), table);
}
#else
// Sixteen bytes from each of four blocks.
template <int kBlock>
__m512i four_pieces(const std::byte* p) {
    auto piece = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * kBlock)); };
    __m512i v = _mm512_castsi128_si512(piece(0));
    v = _mm512_inserti32x4(v, piece(1), 1);
    v = _mm512_inserti32x4(v, piece(2), 2);
    return _mm512_inserti32x4(v, piece(3), 3);
}
inline __m512i lookup_low(__m512i table, __m512i a) {
    return _mm512_shuffle_epi8(table, _mm512_and_si512(a, _mm512_set1_epi8(15)));
}
inline __m512i lookup_high(__m512i table, __m512i a) { return lookup_low(table, _mm512_srli_epi16(a, 4)); }
#endif

// Blocks of an exponent and sixteen bytes, whose low nibbles are the first half of a group.
struct Mxfp4Row {
    using Inputs = OffsetInputs;
    static constexpr int kMostInputs = 4;
    static constexpr int kBytes = 136, kOffset = 12;
    static constexpr const float (&kFactors)[8] = kAllTimes2;
    static void pack(const std::int8_t* q, std::int8_t* packed) { pack_quarters(q, packed); }

    struct Unpacked {
        __m512i codes[2][2];  // of either half: groups 0 to 3, 4 to 7
        __m512i scales;       // as floats twice as much, but for an exponent of 0
    };
#if defined(CACHALOT_ROWS_BY_BYTES)
    static Unpacked unpack(const std::byte* a) {
        const std::byte* b = a + kBytes;
        Unpacked w;
        const __m512i u = half(a, w.codes[0], 0x88888888), v = half(b, w.codes[1], 0x88888888ull << 32);
        w.scales = _mm512_srli_epi32(_mm512_or_si512(u, v), 1);
        return w;
    }
#else
    static Unpacked unpack(const std::byte* a) {
        const std::byte* b = a + kBytes;
        Unpacked w;
        alignas(16) std::byte exponents[16];
        for (int i = 0; i < 8; ++i) exponents[i] = a[17 * i], exponents[8 + i] = b[17 * i];
        for (int i = 0; i < 2; ++i) {
            w.codes[0][i] = four_pieces<17>(a + 1 + 68 * i);
            w.codes[1][i] = four_pieces<17>(b + 1 + 68 * i);
        }
        w.scales = _mm512_slli_epi32(
            _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(exponents))), 23);
        return w;
    }
#endif
    static __m512 terms(const Unpacked& w, const std::int8_t* q, const Inputs& x) {
        const __m512i bits = _mm512_max_epi32(w.scales, _mm512_set1_epi32(0x400000));  // an exponent of 0
        return term(in_order(add_quarters(quarters(w.codes[0], q), quarters(w.codes[1], q + kChunk))),
                    _mm512_castsi512_ps(bits), x);
    }

  private:
#if defined(CACHALOT_ROWS_BY_BYTES)
    // Returns the exponents in the highest bytes of lanes.
    static __m512i half(const std::byte* at, __m512i (&codes)[2], unsigned long long lanes) {
        static constexpr auto first = places_of<0, 64>([](int i) { return i / 16 * 17 + 1 + i % 16; });
        static constexpr auto second = places_of<64, 72>([](int i) { return i / 16 * 17 + 69 + i % 16; });
        static constexpr auto exponents = places_of<0, 64>([](int i) { return i / 4 % 8 * 17; });
        const __m512i low = bytes_64(at), middle = bytes_64(at + 64), high = bytes_64(at + 72);
        codes[0] = _mm512_permutex2var_epi8(low, _mm512_load_si512(first.of), middle);
        codes[1] = _mm512_permutex2var_epi8(middle, _mm512_load_si512(second.of), high);
        return _mm512_maskz_permutex2var_epi8(lanes, low, _mm512_load_si512(exponents.of), middle);
    }
#endif
    static Quarters quarters(const __m512i (&codes)[2], const std::int8_t* q) {
        // Twice the values, offset to be positive: kE2m1 of formats.inl.
        const __m512i table =
            _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
        auto four = [&](__m512i nibbles, const std::int8_t* inputs) {
            return products(lookup_high(table, nibbles), inputs + 64,
                            products(lookup_low(table, nibbles), inputs));
        };
        return {four(codes[0], q), four(codes[1], q + 128)};
    }
};

// Blocks of a scale and 32 bytes.
struct Q8_0Row {
    using Inputs = OffsetInputs;
    static constexpr int kMostInputs = 4;
    static constexpr int kBytes = 272, kOffset = 128;
    static constexpr const float (&kFactors)[8] = kAllTimes1;
    static void pack(const std::int8_t* q, std::int8_t* packed) { pack_quarters(q, packed); }

    struct Unpacked {
        __m512i codes[4][2];  // of four groups: first and second halves
        __m256i scales;
    };
    static Unpacked unpack(const std::byte* a) {
        const std::byte* b = a + kBytes;
        Unpacked w;
        const __m512i u = _mm512_or_si512(four<0>(a, w.codes[0]), four<1>(a + 136, w.codes[1])),
                      v = _mm512_or_si512(four<2>(b, w.codes[2]), four<3>(b + 136, w.codes[3]));
        w.scales = _mm512_castsi512_si256(_mm512_or_si512(u, v));
        return w;
    }
    static __m512 terms(const Unpacked& w, const std::int8_t* q, const Inputs& x) {
        const Quarters first{dots(w.codes[0], q), dots(w.codes[1], q + 128)},
            second{dots(w.codes[2], q + 256), dots(w.codes[3], q + 384)};
        return term(in_order(add_quarters(first, second)), _mm512_cvtph_ps(w.scales), x);
    }

  private:
    // Four blocks. Returns their scales in quadword kPlace.
    template <int kPlace>
    static __m512i four(const std::byte* at, __m512i (&codes)[2]) {
#if defined(CACHALOT_ROWS_BY_BYTES)
        static constexpr auto first = places_of<0, 64>([](int i) { return i / 16 * 34 + 2 + i % 16; });
        static constexpr auto second = places_of<8, 72>([](int i) { return i / 16 * 34 + 18 + i % 16; });
        static constexpr auto scales = places_of<0, 64>([](int i) { return i / 2 % 4 * 34 + i % 2; });
        const __m512i low = bytes_64(at), high = bytes_64(at + 64);
        codes[0] = _mm512_permutex2var_epi8(low, _mm512_load_si512(first.of), high);
        codes[1] =
            _mm512_permutex2var_epi8(bytes_64(at + 8), _mm512_load_si512(second.of), bytes_64(at + 72));
        return _mm512_maskz_permutex2var_epi8(0xffull << 8 * kPlace, low, _mm512_load_si512(scales.of), high);
#else
        for (int i = 0; i < 2; ++i) codes[i] = four_pieces<34>(at + 2 + 16 * i);
        std::uint64_t scales = 0;
        for (int i = 0; i < 4; ++i)
            __builtin_memcpy(reinterpret_cast<std::byte*>(&scales) + 2 * i, at + 34 * i, 2);
        return _mm512_maskz_set1_epi64(1 << kPlace, static_cast<long long>(scales));
#endif
    }
    static __m512i dots(const __m512i (&codes)[2], const std::int8_t* q) {
        const __m512i offset = _mm512_set1_epi8(-128);
        return products(_mm512_xor_si512(codes[1], offset), q + 64,
                        products(_mm512_xor_si512(codes[0], offset), q));
    }
};

// Turns sixteen terms of each of sixteen rows: out[g] = term g of each row.
[[gnu::always_inline]] inline void turn_rows(const float (&rows)[16][16], F (&out)[16]) {
    __m512 twos[16], fours[16], eights[16];
    for (int i = 0; i < 16; i += 2) {
        const __m512 a = _mm512_load_ps(rows[i]), b = _mm512_load_ps(rows[i + 1]);
        twos[i] = _mm512_unpacklo_ps(a, b);
        twos[i + 1] = _mm512_unpackhi_ps(a, b);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; ++j) {
            const __m512 a = twos[i + j], b = twos[i + 2 + j];
            fours[i + 2 * j] = _mm512_shuffle_ps(a, b, 0x44);
            fours[i + 2 * j + 1] = _mm512_shuffle_ps(a, b, 0xee);
        }
    auto even_quarters = [](__m512 a, __m512 b) {
        return _mm512_castsi512_ps(
            _mm512_shuffle_i32x4(_mm512_castps_si512(a), _mm512_castps_si512(b), 0x88));
    };
    auto odd_quarters = [](__m512 a, __m512 b) {
        return _mm512_castsi512_ps(
            _mm512_shuffle_i32x4(_mm512_castps_si512(a), _mm512_castps_si512(b), 0xdd));
    };
    // fours[4 i + j]: terms j, 4 + j, 8 + j, 12 + j of rows 4 i to 4 i + 3, each in a quarter
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 4; ++j) {
            eights[i + j] = even_quarters(fours[i + j], fours[i + 4 + j]);
            eights[i + 4 + j] = odd_quarters(fours[i + j], fours[i + 4 + j]);
        }
    // eights[8 i + j]: terms j and 8 + j of rows 8 i to 8 i + 3, then of the next four
    for (int j = 0; j < 8; ++j) {
        out[j].v = even_quarters(eights[j], eights[8 + j]);
        out[8 + j].v = odd_quarters(eights[j], eights[8 + j]);
    }
}

inline void store_rows(const F (&sums)[1], float* y) { store(y, sums[0]); }
// In turns.
inline void store_rows(const F (&sums)[2], float* y) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    store(y, {_mm512_permutex2var_ps(sums[0].v, first, sums[1].v)});
    store(y + kLanes, {_mm512_permutex2var_ps(sums[0].v, second, sums[1].v)});
}
