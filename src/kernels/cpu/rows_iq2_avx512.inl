// IQ2_XXS along rows with AVX-512: rows_avx512.inl says what for. Of each group a block has two words: four
// indices of patterns, then four times seven signs and s; its scale is d (s + 1/2) / 4.

#if (defined(__AVX512VBMI__) && defined(__GFNI__)) || defined(CACHALOT_SIMD_EMULATED)
// The code of number k of two that have digits in bits 0, 1 and 2, 3 and signs in bits 4 and 5.
struct alignas(64) Iq2xxsCodes {
    std::uint8_t of[2][64] = {};
    constexpr Iq2xxsCodes() {
        constexpr int kMagnitudes[4] = {8, 25, 43, 0};
        for (int k = 0; k < 2; ++k)
            for (int j = 0; j < 64; ++j) {
                const int magnitude = kMagnitudes[j >> 2 * k & 3];
                of[k][j] = static_cast<std::uint8_t>(43 + (j >> (4 + k) & 1 ? -magnitude : magnitude));
            }
    }
};

// The activations are packed so that a lane has a group for itself: byte t of lane g of register i is number
// i of pattern t of group g. Eight registers are eight dot products that add to the same sixteen lanes.
// Permutations look the digits of 64 patterns up at once, four numbers of each in a byte. A product with a
// matrix of bits makes the eighth sign, after which the number of negative ones is even. Where two signs come
// to lie beside two digits, a byte names two numbers, and one more permutation each has their codes.
struct Iq2xxsRow {
    using Inputs = OffsetInputs;
    static constexpr int kMostInputs = 4;
    static constexpr int kBytes = 66, kOffset = 43;
    static constexpr const float (&kFactors)[8] = kAllTimes8;
    static void pack(const std::int8_t* q, std::int8_t* packed) {
        static constexpr auto turned = places_of<0, 64>([](int i) { return i % 8 * 8 + i / 8; });
        for (int p = 0; p < 64; p += 8) {  // patterns
            alignas(64) std::uint64_t numbers[8];
            _mm512_store_si512(numbers,
                               _mm512_permutexvar_epi8(_mm512_load_si512(turned.of), bytes_64(q + 8 * p)));
            for (int i = 0; i < 8; ++i) __builtin_memcpy(packed + 64 * i + p, numbers + i, 8);
        }
    }

    struct Unpacked {
        __m512i names[4];
        __m512 scales;
    };
    static Unpacked unpack(const std::byte* a) {
        const std::byte* b = a + kBytes;
        const __m512i u = bytes_64(a + 2), v = bytes_64(b + 2);
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        const __m512i indices = _mm512_permutex2var_epi32(u, even, v);
        const __m512i words = _mm512_permutex2var_epi32(u, _mm512_add_epi32(even, _mm512_set1_epi32(1)), v);
        const auto upper = _mm512_movepi8_mask(indices);
        auto look_up = [&](const std::uint8_t* digits) {
            auto half = [&](int i) {
                return _mm512_permutex2var_epi8(_mm512_load_si512(digits + i), indices,
                                                _mm512_load_si512(digits + i + 64));
            };
            return _mm512_mask_mov_epi8(half(0), upper, half(128));
        };
        const __m512i low = look_up(cachalot::kIq2xxsQuads.low), high = look_up(cachalot::kIq2xxsQuads.high);
        const __m512i sevens = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700), words);
        const __m512i signs = _mm512_gf2p8affine_epi64_epi8(sevens, _mm512_set1_epi64(0x010204081020407f), 0);
        auto beside = [](__m512i digits, __m512i sign) {  // bits 4 and 5 of `sign`
            return _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), digits, sign, 0xca);
        };
        const __m512i s = _mm512_or_si512(_mm512_srli_epi32(words, 27), _mm512_set1_epi32(1));  // 2 s + 1
        return {{beside(low, _mm512_slli_epi16(signs, 4)),
                 beside(_mm512_srli_epi16(low, 4), _mm512_slli_epi16(signs, 2)), beside(high, signs),
                 beside(_mm512_srli_epi16(high, 4), _mm512_srli_epi16(signs, 2))},
                _mm512_mul_ps(_mm512_cvtph_ps(two_words(a, b)), _mm512_cvtepi32_ps(s))};
    }
    static __m512 terms(const Unpacked& w, const std::int8_t* q, const Inputs& x) {
        static constexpr Iq2xxsCodes codes;
        __m512i sums[2] = {_mm512_load_si512(x.base), _mm512_setzero_si512()};
        for (int i = 0; i < 4; ++i)
            for (int k = 0; k < 2; ++k)
                sums[k] = products(_mm512_permutexvar_epi8(w.names[i], _mm512_load_si512(codes.of[k])),
                                   q + 128 * i + 64 * k, sums[k]);
        return term(_mm512_add_epi32(sums[0], sums[1]), w.scales, x.scale);
    }
};
#else
// As above, but magnitudes come one pattern after the other, and signs are given to the activations.
struct Iq2xxsRow {
    using Inputs = OffsetInputs;
    static constexpr int kMostInputs = 4;
    static constexpr int kBytes = 66, kOffset = 0;
    static constexpr const float (&kFactors)[8] = kAllTimes8;
    static void pack(const std::int8_t* q, std::int8_t* packed) { pack_quarters(q, packed); }

    struct Unpacked {
        __m512i magnitudes[2][4];  // of either half: two patterns of four groups
        std::uint64_t signs[2][4];
        __m512 scales;
    };
    static Unpacked unpack(const std::byte* a) {
        const std::byte* b = a + kBytes;
        Unpacked w;
        const __m128i s = _mm_unpacklo_epi64(unpack(a, w.magnitudes[0], w.signs[0]),
                                             unpack(b, w.magnitudes[1], w.signs[1]));
        w.scales = _mm512_mul_ps(_mm512_cvtph_ps(two_words(a, b)), sixteen_bytes(s));
        return w;
    }
    static __m512 terms(const Unpacked& w, const std::int8_t* q, const Inputs& x) {
        return term(in_order(add_quarters(quarters(w, 0, q), quarters(w, 1, q + kChunk))), w.scales, x);
    }

  private:
    // Returns 2 s + 1 of each group.
    static __m128i unpack(const std::byte* at, __m512i (&magnitudes)[4], std::uint64_t (&signs)[4]) {
        const __m512i words = bytes_64(at + 2);
        const __m256i bytes = _mm512_cvtepi64_epi32(_mm512_srli_epi64(sign_bytes(words), 32));
        const __m256i turns = _mm256_setr_epi16(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(signs), _mm256_permutexvar_epi16(turns, bytes));
        for (int i = 0; i < 4; ++i) magnitudes[i] = look_up(at + 2 + i / 2 * 32 + i % 2 * 2);
        return _mm512_cvtepi64_epi8(_mm512_or_si512(_mm512_srli_epi64(words, 59), _mm512_set1_epi64(1)));
    }
    static Quarters quarters(const Unpacked& w, int half, const std::int8_t* q) {
        auto product = [&](int i, __m512i sum) {
            const __m512i inputs = _mm512_load_si512(q + 64 * i);
            return _mm512_dpbusd_epi32(
                sum, w.magnitudes[half][i],
                _mm512_mask_sub_epi8(inputs, w.signs[half][i], _mm512_setzero_si512(), inputs));
        };
        const __m512i none = _mm512_setzero_si512();
        return {product(1, product(0, none)), product(3, product(2, none))};
    }
    // Seven bits to a byte; the eighth makes the number of ones even.
    static __m512i sign_bytes(__m512i words) {
        auto bits = [](int mask) { return _mm512_set1_epi32(mask); };
        const __m512i sevens =
            _mm512_or_si512(_mm512_or_si512(_mm512_and_si512(words, bits(0x7f)),
                                            _mm512_and_si512(_mm512_slli_epi32(words, 1), bits(0x7f00))),
                            _mm512_or_si512(_mm512_and_si512(_mm512_slli_epi32(words, 2), bits(0x7f0000)),
                                            _mm512_and_si512(_mm512_slli_epi32(words, 3), bits(0x7f000000))));
        const __m512i odd = _mm512_broadcast_i32x4(
            _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
        const __m512i folded =
            _mm512_and_si512(_mm512_xor_si512(sevens, _mm512_srli_epi16(sevens, 4)), _mm512_set1_epi8(15));
        return _mm512_or_si512(sevens, _mm512_shuffle_epi8(odd, folded));
    }
    // Of the patterns that two neighbouring bytes of each of four groups name.
    static __m512i look_up(const std::byte* indices) {
        auto entry = [&](int i) {
            return cachalot::kIq2xxsGrid.data() + static_cast<std::uint8_t>(indices[i]);
        };
        auto pair = [&](int i) {
            const __m128d low = _mm_castsi128_pd(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(entry(i))));
            return _mm_castpd_si128(_mm_loadh_pd(low, reinterpret_cast<const double*>(entry(i + 1))));
        };
        auto four = [&](int i) {
            return _mm256_inserti128_si256(_mm256_castsi128_si256(pair(i)), pair(i + 8), 1);
        };
        return _mm512_inserti64x4(_mm512_castsi256_si512(four(0)), four(16), 1);
    }
};
#endif
