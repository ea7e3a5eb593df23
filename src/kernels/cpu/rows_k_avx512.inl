// Q4_K and Q2_K along rows with AVX-512: rows_avx512.inl says what for. Of a super-block of 256 columns
// groups have scales and minimums of their own, in units that the block gives.

// Of 32 bytes the low nibbles are an even group, the high ones, which stay where they are, an odd one.
struct Q4kRow {
    using Inputs = MinimumInputs<1>;
    static constexpr int kMostInputs = 3;
    static constexpr int kBytes = 144, kOffset = 0;
    static constexpr float kFactors[8] = {1, 16, 1, 16, 1, 16, 1, 16};
    static void pack(const std::int8_t* q, std::int8_t* packed) {
        pack_pieces(q, {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}, packed);
    }

    struct Unpacked {
        __m512i codes[2][2];  // of eight groups: the first halves, the second
        __m512 scales, minimums;
    };
    static Unpacked unpack(const std::byte* a) {
        const std::byte* b = a + kBytes;
        Unpacked w;
        halves(a + 16, w.codes[0]), halves(b + 16, w.codes[1]);
        const HalfPairs units(a, b);
        const Factors u = factors(a + 4), v = factors(b + 4);
        auto both = [](std::uint64_t first, std::uint64_t second) {
            return sixteen_bytes(
                _mm_set_epi64x(static_cast<long long>(second), static_cast<long long>(first)));
        };
        w.scales = _mm512_mul_ps(units.first, both(u.scales, v.scales));
        w.minimums = _mm512_mul_ps(units.second, both(u.minimums, v.minimums));
        return w;
    }
    static __m512 terms(const Unpacked& w, const std::int8_t* q, const Inputs& x) {
        const __m512i dots =
            in_turns(add_quarters(quarters(w.codes[0], q), quarters(w.codes[1], q + kChunk)));
        return _mm512_fnmadd_ps(w.minimums, _mm512_load_ps(x.sums[0]), term(dots, w.scales, x.scale));
    }

  private:
    static void halves(const std::byte* at, __m512i (&codes)[2]) {
        const __m512i u = bytes_64(at), v = bytes_64(at + 64);
        codes[0] = _mm512_shuffle_i32x4(u, v, 0x88), codes[1] = _mm512_shuffle_i32x4(u, v, 0xdd);
    }
    static Quarters quarters(const __m512i (&codes)[2], const std::int8_t* q) {
        auto nibbles = [&](int mask, const std::int8_t* inputs) {
            const __m512i bits = _mm512_set1_epi8(static_cast<char>(mask));
            return products(_mm512_and_si512(codes[1], bits), inputs + 64,
                            products(_mm512_and_si512(codes[0], bits), inputs));
        };
        return {nibbles(0x0f, q), nibbles(0xf0, q + 128)};
    }
    struct Factors {
        std::uint64_t scales, minimums;  // a byte each
    };
    static Factors factors(const std::byte* packed) {  // as in q4k_group()
        std::uint32_t w[3];
        __builtin_memcpy(w, packed, 12);
        auto eight = [](std::uint32_t low, std::uint32_t high) { return std::uint64_t(high) << 32 | low; };
        return {eight(w[0] & 0x3f3f3f3f, (w[2] & 0x0f0f0f0f) | (w[0] >> 2 & 0x30303030)),
                eight(w[1] & 0x3f3f3f3f, (w[2] >> 4 & 0x0f0f0f0f) | (w[1] >> 2 & 0x30303030))};
    }
};

// Pair s of the bits of 64 bytes is group s, then group 4 + s; a quarter is half a group, which has a factor
// of its own.
struct Q2kRow {
    using Inputs = MinimumInputs<2>;
    static constexpr int kMostInputs = 2;
    static constexpr int kBytes = 84, kOffset = 0;
    static constexpr float kFactors[8] = {1, 4, 1, 4, 1, 4, 1, 4};
    static void pack(const std::int8_t* q, std::int8_t* packed) {
        pack_pieces(q, {0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15}, packed);
    }

    struct Unpacked {
        __m512i codes[2], factors[2][2];
        __m512 scales, minimums[2];  // the minimums of the halves of groups
    };
    static Unpacked unpack(const std::byte* a) {
        const std::byte* b = a + kBytes;
        Unpacked w;
        w.codes[0] = bytes_64(a + 16), w.codes[1] = bytes_64(b + 16);
        factors(a, w.factors[0]), factors(b, w.factors[1]);
        const HalfPairs units(a + 80, b + 80);
        w.scales = units.first;
        // Two bytes for each group; the high nibbles are the minimums of its halves.
        const __m512i bytes =
            _mm512_cvtepu16_epi32(_mm256_inserti128_si256(_mm256_castsi128_si256(head(a)), head(b), 1));
        const __m512i low = _mm512_and_si512(_mm512_srli_epi32(bytes, 4), _mm512_set1_epi32(15)),
                      high = _mm512_srli_epi32(bytes, 12);
        w.minimums[0] = _mm512_mul_ps(units.second, _mm512_cvtepi32_ps(low));
        w.minimums[1] = _mm512_mul_ps(units.second, _mm512_cvtepi32_ps(high));
        return w;
    }
    static __m512 terms(const Unpacked& w, const std::int8_t* q, const Inputs& x) {
        const __m512i u = half_groups(w.codes[0], w.factors[0], q),
                      v = half_groups(w.codes[1], w.factors[1], q + kChunk);
        const __m512i dots =
            _mm512_add_epi32(_mm512_shuffle_i32x4(u, v, 0x88), _mm512_shuffle_i32x4(u, v, 0xdd));
        const __m512 t =
            _mm512_fnmadd_ps(w.minimums[0], _mm512_load_ps(x.sums[0]), term(dots, w.scales, x.scale));
        return _mm512_fnmadd_ps(w.minimums[1], _mm512_load_ps(x.sums[1]), t);
    }

  private:
    static __m128i head(const std::byte* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }
    // Of each quarter: four times the factor of its half of group s, four times that of group s + 1, for s =
    // 0 and 2.
    static void factors(const std::byte* at, __m512i (&out)[2]) {
        struct alignas(64) Places {
            std::uint8_t at[2][64] = {};
            constexpr Places() {
                for (int s = 0; s < 4; s += 2)
                    for (int i = 0; i < 64; ++i)
                        at[s / 2][i] = static_cast<std::uint8_t>(
                            i % 2 ? 0x80 : 2 * (s + i % 16 / 8) + i / 16 % 2 + i / 32 * 8);
            }
        };
        static constexpr Places places;
        const __m512i low = _mm512_broadcast_i32x4(_mm_and_si128(head(at), _mm_set1_epi8(15)));
        for (int i = 0; i < 2; ++i) out[i] = _mm512_shuffle_epi8(low, _mm512_load_si512(places.at[i]));
    }
    // Quarter p, number s: half p % 2 of group s + 4 (p / 2), times its factor.
    static __m512i half_groups(__m512i packed, const __m512i (&factors)[2], const std::int8_t* q) {
        const __m512i pair = _mm512_set1_epi8(3), next = _mm512_set1_epi8(12);
        // Sums of four products are less than 2^13, so 16 bits hold them, of which pairs are multiplied and
        // added at once.
        auto two = [&](__m512i codes, int s) {
            const __m512i sums = _mm512_packs_epi32(products(_mm512_and_si512(codes, pair), q + 64 * s),
                                                    products(_mm512_and_si512(codes, next), q + 64 * s + 64));
            return _mm512_castsi512_ps(_mm512_madd_epi16(sums, factors[s / 2]));
        };
        const __m512 u = two(packed, 0), v = two(_mm512_srli_epi16(packed, 4), 2);
        return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(u, v, 0x88)),
                                _mm512_castps_si512(_mm512_shuffle_ps(u, v, 0xdd)));
    }
};
