// Products along rows with AVX-512, included by kernels.inl: the terms of the eight groups of 32 columns that follow one another in a row of
// weights, for one row of activations (products.inl says what for). One struct for each format, with
//
//     kPieces                order in which it wants the sixteen pieces of sixteen activations
//     kOffset                of its codes here
//     terms(at, q, x)        at: the 256 columns in the file; q: their activations, [256]; x: what goes with them
//
// A term is what add_group() in products.inl adds for a group, computed by the same operations in the same order.
// Of the eight groups: scales of the activations, -kOffset times the sums of q, scale times the sums of the first and
// of the last 16 q.
struct RowScales {
    alignas(32) float scale[8];
    alignas(32) std::int32_t base[8];
    alignas(32) float half_sums[2][8];
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
inline __m512i swap_halves(__m512i a) {  // of each quarter
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(a), 0x4e));
}
// Number i of quarter p of the result: the sum of the four numbers in quarter p of v[i].
inline __m512i add_fours(const __m512i (&v)[4]) {
    const __m512i a = add_pairs(v[0], v[1]), b = add_pairs(v[2], v[3]);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}
// Quarters 0 + 1, then 2 + 3: where v[i] had a group in each half, those of the first halves, then of the second.
inline __m256i add_halves(__m512i quarters) {
    return _mm512_castsi512_si256(_mm512_add_epi32(_mm512_shuffle_i32x4(quarters, quarters, 0x08),
                                                   _mm512_shuffle_i32x4(quarters, quarters, 0x0d)));
}
inline __m256i in_turns(__m256i halves) {  // 0 4 1 5 2 6 3 7
    return _mm256_permutevar8x32_epi32(halves, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
inline __m256 term(__m256i sums, __m256 scales, const RowScales& x) {
    const __m256i dots = _mm256_add_epi32(sums, _mm256_load_si256(reinterpret_cast<const __m256i*>(x.base)));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(dots), _mm256_mul_ps(scales, _mm256_load_ps(x.scale)));
}
inline __m256 eight_bytes(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)); }
inline __m256 f16_everywhere(const std::byte* p) {
    std::uint16_t half;
    __builtin_memcpy(&half, p, 2);
    return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(half)));
}

// Blocks of kHead bytes and 64 / kBlocks others follow each other. The others go to the result; the heads become bytes 4 *
// kPlace .. + 3 of `heads`.
#if defined(__AVX512VBMI__) || defined(CACHALOT_SIMD_EMULATED)
template <int kHead, int kBlocks, int kPlace>
__m512i take_apart(const std::byte* p, __m512i& heads) {
    constexpr int kRest = 64 / kBlocks;
    static_assert(kHead * kBlocks == 4);
    struct alignas(64) Places {
        std::uint8_t rest[64] = {}, head[64] = {};
        constexpr Places() {
            for (int i = 0; i < 60; ++i)
                rest[i] = static_cast<std::uint8_t>(i / kRest * (kRest + kHead) + kHead + i % kRest);
            for (int i = 0; i < 64; ++i)
                head[i] = static_cast<std::uint8_t>(i % 4 / kHead * (kRest + kHead) + i % kHead);
        }
    };
    static constexpr Places places;
    const __m512i bytes = bytes_64(p);
    heads = _mm512_mask_permutexvar_epi8(heads, 0xfull << 4 * kPlace, _mm512_load_si512(places.head), bytes);
    int last;  // four bytes are beyond what one load reads
    __builtin_memcpy(&last, p + 64, 4);
    return _mm512_mask_mov_epi32(_mm512_permutexvar_epi8(_mm512_load_si512(places.rest), bytes), 0x8000,
                                 _mm512_set1_epi32(last));
}
// table[] of the low and of the high nibbles. The instruction looks at six bits, so the table is there four times.
inline __m512i lookup_low(__m512i table, __m512i a) { return _mm512_permutexvar_epi8(a, table); }
inline __m512i lookup_high(__m512i table, __m512i a) {
    return _mm512_permutexvar_epi8(_mm512_srli_epi16(a, 4), table);
}
#else
template <int kHead, int kBlocks, int kPlace>
__m512i take_apart(const std::byte* p, __m512i& heads) {
    constexpr int kRest = 64 / kBlocks;
    std::uint32_t head = 0;
    auto piece = [&](int i) {
        return _mm_loadu_si128(
            reinterpret_cast<const __m128i*>(p + 16 * i / kRest * (kRest + kHead) + kHead + 16 * i % kRest));
    };
    for (int i = 0; i < kBlocks; ++i)
        __builtin_memcpy(reinterpret_cast<std::byte*>(&head) + i * kHead, p + i * (kRest + kHead), kHead);
    heads = _mm512_mask_set1_epi32(heads, 1 << kPlace, static_cast<int>(head));
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

struct Mxfp4Row {
    static constexpr int kBytes = 136, kOffset = 12;
    static constexpr int kPieces[16] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
    static __m256 terms(const std::byte* at, const std::int8_t* q, const RowScales& x) {
        // Twice the values, offset to be positive: kE2m1 of formats.inl.
        const __m512i table =
            _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
        __m512i heads = _mm512_setzero_si512();
        auto four = [&](__m512i codes, const std::int8_t* inputs) {
            return products(lookup_high(table, codes), inputs + 64,
                            products(lookup_low(table, codes), inputs));
        };
        const __m512i a = four(take_apart<1, 4, 0>(at, heads), q),
                      b = four(take_apart<1, 4, 1>(at + 68, heads), q + 128);
        const __m512i pairs = add_pairs(a, b);
        const __m512i sums = _mm512_add_epi32(pairs, swap_halves(pairs));
        const __m512i places = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13);
        const __m256i bytes = _mm256_cvtepu8_epi32(_mm512_castsi512_si128(heads));
        const __m256i bits = _mm256_max_epi32(_mm256_slli_epi32(bytes, 23), _mm256_set1_epi32(0x400000));
        return term(_mm512_castsi512_si256(_mm512_permutexvar_epi32(places, sums)),
                    _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0.5f)), x);
    }
};

struct Q8_0Row {
    static constexpr int kBytes = 272, kOffset = 128;
    static constexpr int kPieces[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    static __m256 terms(const std::byte* at, const std::int8_t* q, const RowScales& x) {
        __m512i heads = _mm512_setzero_si512();
        auto unsigned_codes = [](__m512i codes) { return _mm512_xor_si512(codes, _mm512_set1_epi8(-128)); };
        const __m512i a = take_apart<2, 2, 0>(at, heads), b = take_apart<2, 2, 1>(at + 68, heads),
                      c = take_apart<2, 2, 2>(at + 136, heads), d = take_apart<2, 2, 3>(at + 204, heads);
        const __m512i sums[4] = {products(unsigned_codes(a), q), products(unsigned_codes(b), q + 64),
                                 products(unsigned_codes(c), q + 128), products(unsigned_codes(d), q + 192)};
        return term(in_turns(add_halves(add_fours(sums))), _mm256_cvtph_ps(_mm512_castsi512_si128(heads)), x);
    }
};

struct Q4kRow {
    static constexpr int kBytes = 144, kOffset = 0;
    static constexpr int kPieces[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
    static __m256 terms(const std::byte* at, const std::int8_t* q, const RowScales& x) {
        const __m512i nibble = _mm512_set1_epi8(15);
        __m512i sums[4];
        for (int i = 0; i < 2; ++i) {
            const __m512i packed = bytes_64(at + 16 + 64 * i);
            sums[2 * i] = products(_mm512_and_si512(packed, nibble), q + 128 * i);
            sums[2 * i + 1] =
                products(_mm512_and_si512(_mm512_srli_epi16(packed, 4), nibble), q + 128 * i + 64);
        }
        // Of v[0 .. 3] groups 0 and 2, 1 and 3, 4 and 6, 5 and 7.
        const __m256i dots = _mm256_permutevar8x32_epi32(add_halves(add_fours(sums)),
                                                         _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7));
        std::uint32_t w[3];  // as in q4k_group()
        __builtin_memcpy(w, at + 4, 12);
        auto eight = [](std::uint32_t low, std::uint32_t high) {
            return eight_bytes(_mm_cvtsi64_si128(static_cast<long long>(std::uint64_t(high) << 32 | low)));
        };
        const __m256 scales = eight(w[0] & 0x3f3f3f3f, (w[2] & 0x0f0f0f0f) | (w[0] >> 2 & 0x30303030));
        const __m256 minimums = eight(w[1] & 0x3f3f3f3f, (w[2] >> 4 & 0x0f0f0f0f) | (w[1] >> 2 & 0x30303030));
        const __m256 dmin = _mm256_sub_ps(_mm256_setzero_ps(), f16_everywhere(at + 2));
        return _mm256_fmadd_ps(_mm256_mul_ps(dmin, minimums),
                               _mm256_add_ps(_mm256_load_ps(x.half_sums[0]), _mm256_load_ps(x.half_sums[1])),
                               term(dots, _mm256_mul_ps(f16_everywhere(at), scales), x));
    }
};

struct Q2kRow {
    static constexpr int kBytes = 84, kOffset = 0;
    static constexpr int kPieces[16] = {0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15};
    static __m256 terms(const std::byte* at, const std::int8_t* q, const RowScales& x) {
        const __m512i packed = bytes_64(at + 16), pair = _mm512_set1_epi8(3);
        const __m512i sums[4] = {products(_mm512_and_si512(packed, pair), q),
                                 products(_mm512_and_si512(_mm512_srli_epi16(packed, 2), pair), q + 64),
                                 products(_mm512_and_si512(_mm512_srli_epi16(packed, 4), pair), q + 128),
                                 products(_mm512_and_si512(_mm512_srli_epi16(packed, 6), pair), q + 192)};
        // Half-groups: quarter 0 of v[i] is 2i, 1 is 2i + 1, 2 is 2i + 8, 3 is 2i + 9. Their factors are sorted the same way,
        // the minimums into those of first halves, then of second.
        const __m128i head = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)),
                      nibble = _mm_set1_epi8(15);
        const __m128i places = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
        const __m512i factors = _mm512_cvtepu8_epi32(_mm_shuffle_epi8(_mm_and_si128(head, nibble), places));
        const __m128i halves = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
        const __m128i minimums = _mm_shuffle_epi8(_mm_and_si128(_mm_srli_epi16(head, 4), nibble), halves);
        const __m256 dmin = _mm256_sub_ps(_mm256_setzero_ps(), f16_everywhere(at + 82));
        __m256 t = term(add_halves(_mm512_madd_epi16(add_fours(sums), factors)), f16_everywhere(at + 80), x);
        t = _mm256_fmadd_ps(_mm256_mul_ps(dmin, eight_bytes(minimums)), _mm256_load_ps(x.half_sums[0]), t);
        return _mm256_fmadd_ps(_mm256_mul_ps(dmin, eight_bytes(_mm_srli_si128(minimums, 8))),
                               _mm256_load_ps(x.half_sums[1]), t);
    }
};

// Signs are given to the activations, so that magnitudes need no offset.
struct Iq2xxsRow {
    static constexpr int kBytes = 66, kOffset = 0;
    static constexpr int kPieces[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    static __m256 terms(const std::byte* at, const std::int8_t* q, const RowScales& x) {
        const __m512i words =
            bytes_64(at + 2);  // of each group: four indices, then four times seven signs and s
        const __m128i s = _mm512_cvtepi64_epi8(_mm512_srli_epi64(words, 60));
        alignas(32) std::uint64_t signs[4];
        _mm256_store_si256(reinterpret_cast<__m256i*>(signs),
                           _mm512_cvtepi64_epi32(_mm512_srli_epi64(sign_bytes(words), 32)));
        __m512i sums[4];
        for (int i = 0; i < 4; ++i) {
            const __m512i inputs = _mm512_load_si512(q + 64 * i);
            sums[i] =
                _mm512_dpbusd_epi32(_mm512_setzero_si512(), magnitudes(at + 2 + 16 * i),
                                    _mm512_mask_sub_epi8(inputs, signs[i], _mm512_setzero_si512(), inputs));
        }
        const __m256 eighth = _mm256_mul_ps(f16_everywhere(at), _mm256_set1_ps(0.125f));
        const __m256 scales = _mm256_fmadd_ps(_mm256_add_ps(eighth, eighth), eight_bytes(s), eighth);
        return term(in_turns(add_halves(add_fours(sums))), scales, x);
    }

  private:
    // Seven bits to a byte; the eighth makes the number of ones even.
    static __m512i sign_bytes(__m512i words) {
#if defined(__AVX512VBMI__) || defined(CACHALOT_SIMD_EMULATED)
        const __m512i sevens = sevens_to_bytes({words}).v;
#else
        auto bits = [](int mask) { return _mm512_set1_epi32(mask); };
        const __m512i sevens =
            _mm512_or_si512(_mm512_or_si512(_mm512_and_si512(words, bits(0x7f)),
                                            _mm512_and_si512(_mm512_slli_epi32(words, 1), bits(0x7f00))),
                            _mm512_or_si512(_mm512_and_si512(_mm512_slli_epi32(words, 2), bits(0x7f0000)),
                                            _mm512_and_si512(_mm512_slli_epi32(words, 3), bits(0x7f000000))));
#endif
        const __m512i odd = _mm512_broadcast_i32x4(
            _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
        const __m512i folded =
            _mm512_and_si512(_mm512_xor_si512(sevens, _mm512_srli_epi16(sevens, 4)), _mm512_set1_epi8(15));
        return _mm512_or_si512(sevens, _mm512_shuffle_epi8(odd, folded));
    }
    // Of eight patterns: those that bytes 0 to 3 and 8 to 11 name.
    static __m512i magnitudes(const std::byte* indices) {
        auto entry = [&](int i) {
            return cachalot::kIq2xxsGrid.data() + static_cast<std::uint8_t>(indices[i]);
        };
        auto pair = [&](int i) {
            const __m128d low = _mm_castsi128_pd(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(entry(i))));
            return _mm_castpd_si128(_mm_loadh_pd(low, reinterpret_cast<const double*>(entry(i + 1))));
        };
        auto four = [&](int i) {
            return _mm256_inserti128_si256(_mm256_castsi128_si256(pair(i)), pair(i + 2), 1);
        };
        return _mm512_inserti64x4(_mm512_castsi256_si512(four(0)), four(8), 1);
    }
};

// Rows of eight numbers, of which kLanes = 16 are turned. Row r is at slot(r), so that rows r and r + 8 lie together.
inline int row_slot(int r) { return 2 * (r % 8) + r / 8; }
// out[i] = number i of each row
inline void turn_rows(const float (&rows)[16][8], F (&out)[8]) {
    __m512 pairs[8], fours[8];
    auto two = [&](int i) { return _mm512_load_ps(rows[2 * i]); };
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm512_unpacklo_ps(two(i), two(i + 1));
        pairs[i + 1] = _mm512_unpackhi_ps(two(i), two(i + 1));
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            const __m512 a = pairs[i + j], b = pairs[i + 2 + j];
            fours[i + 2 * j] = _mm512_shuffle_ps(a, b, 0x44);
            fours[i + 2 * j + 1] = _mm512_shuffle_ps(a, b, 0xee);
        }
    // fours[j], of rows 0 .. 3 and 8 .. 11: number j in quarters 0 and 2, number j + 4 in quarters 1 and 3
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13),
                  second = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    for (int j = 0; j < 4; ++j) {
        const __m512i a = _mm512_castps_si512(fours[j]), b = _mm512_castps_si512(fours[j + 4]);
        out[j].v = _mm512_castsi512_ps(_mm512_permutex2var_epi64(a, first, b));
        out[j + 4].v = _mm512_castsi512_ps(_mm512_permutex2var_epi64(a, second, b));
    }
}
