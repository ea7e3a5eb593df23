// The formats with blocks of 256 values (tensor/k_quants.h), unpacked for products. Included by kernels.inl
// after formats.inl, which says what a format provides. k is a multiple of 256 in header() and of kUnit in
// codes().
//
// Scales and minimums take as much unpacking as codes do where a chunk is used once. So they are gathered and
// taken apart for all rows of the strip together, as the codes are.

using cachalot::kSuperBlock;

// Bytes [at, at + 8) of each row: four and four.
inline void gather_8(const Strip& s, std::int64_t at, U (&out)[2]) {
    gather_eights([&](int r) { return s.rows[r] + at; }, out);
}
// The entries of a table of eight bytes each that byte `at` of each row names.
inline void gather_entries(const std::uint64_t* table, const Strip& s, std::int64_t at, U (&out)[2]) {
    gather_eights([&](int r) { return table + static_cast<std::uint8_t>(s.rows[r][at]); }, out);
}

struct Q4k {
    static constexpr Codes kCodes = Codes::narrow;
    static constexpr int kOffset = 0, kMinimums = 1, kUnit = 64, kUnitBytes = 36;
    static constexpr int kBlock = 144;

    static void header(const Strip& s, std::int64_t k, int, Header& h) {
        U head[4];  // | d dmin | scales 0..3 | minimums 0..3 | nibbles of 4..7 |, high bits as in q4k_group()
        gather(s.rows, k / kSuperBlock * kBlock, head);
        const F d = from_f16<0>(head[0]), dmin = broadcast(0) - from_f16<1>(head[0]);
        const U six_bits = repeat(0x3f3f3f3f), two_bits = repeat(0x30303030);
        put<0>(h, d, head[1] & six_bits, dmin, head[2] & six_bits);
        put<4>(h, d, low_nibbles(head[3]) | (shift_right<2>(head[1]) & two_bits), dmin,
               high_nibbles(head[3]) | (shift_right<2>(head[2]) & two_bits));
    }
    static void codes(const Strip& s, std::int64_t k, U* out) {
        const std::int64_t at = k / kSuperBlock * kBlock + 16 + k % kSuperBlock / 2;
        for (int half = 0; half < 2; ++half) {
            U packed[4];
            gather(s.rows, at + 16 * half, packed);
            for (int i = 0; i < 4; ++i) {
                out[4 * half + i] = low_nibbles(packed[i]);
                out[8 + 4 * half + i] = high_nibbles(packed[i]);
            }
        }
    }

  private:
    // Groups kFirst .. kFirst + 3, one in each byte.
    template <int kFirst>
    static void put(Header& h, F d, U scales, F dmin, U minimums) {
        store(h.scales[kFirst], d * from_byte<0>(scales));
        store(h.scales[kFirst + 1], d * from_byte<1>(scales));
        store(h.scales[kFirst + 2], d * from_byte<2>(scales));
        store(h.scales[kFirst + 3], d * from_byte<3>(scales));
        store(h.minimums[kFirst][0], dmin * from_byte<0>(minimums));
        store(h.minimums[kFirst + 1][0], dmin * from_byte<1>(minimums));
        store(h.minimums[kFirst + 2][0], dmin * from_byte<2>(minimums));
        store(h.minimums[kFirst + 3][0], dmin * from_byte<3>(minimums));
    }
};

struct Q2k {
    static constexpr Codes kCodes = Codes::scaled;
    static constexpr int kOffset = 0, kMinimums = 2, kUnit = 128, kUnitBytes = 42;
    static constexpr int kBlock = 84;

    static void header(const Strip& s, std::int64_t k, int, Header& h) {
        U packed[4], tail[4];
        gather(s.rows, k / kSuperBlock * kBlock, packed);
        gather(s.rows, k / kSuperBlock * kBlock + 68, tail);  // ends with d and dmin
        const F d = from_f16<0>(tail[3]), dmin = broadcast(0) - from_f16<1>(tail[3]);
        for (int i = 0; i < 4; ++i) {
            const U scales = low_nibbles(packed[i]), minimums = high_nibbles(packed[i]);
            for (int g = 2 * i; g < 2 * i + 2; ++g) store(h.scales[g], d);
            h.factors[2 * i][0] = factor<0>(scales);
            h.factors[2 * i][1] = factor<1>(scales);
            h.factors[2 * i + 1][0] = factor<2>(scales);
            h.factors[2 * i + 1][1] = factor<3>(scales);
            store(h.minimums[2 * i][0], dmin * from_byte<0>(minimums));
            store(h.minimums[2 * i][1], dmin * from_byte<1>(minimums));
            store(h.minimums[2 * i + 1][0], dmin * from_byte<2>(minimums));
            store(h.minimums[2 * i + 1][1], dmin * from_byte<3>(minimums));
        }
    }
    static void codes(const Strip& s, std::int64_t k, U* out) {
        const std::int64_t at = k / kSuperBlock * kBlock + 16 + k % kSuperBlock / 4;
        const U two_bits = repeat(0x03030303);
        for (int half = 0; half < 2; ++half) {
            U packed[4];  // the pairs of bits of a byte are columns 0, 32, 64, 96 further on
            gather(s.rows, at + 16 * half, packed);
            for (int i = 0; i < 4; ++i) {
                U* column = out + 4 * half + i;
                column[0] = packed[i] & two_bits;
                column[8] = shift_right<2>(packed[i]) & two_bits;
                column[16] = shift_right<4>(packed[i]) & two_bits;
                column[24] = shift_right<6>(packed[i]) & two_bits;
            }
        }
    }
};

struct Iq2xxs {
    static constexpr Codes kCodes = Codes::half;
    static constexpr int kOffset = 43, kMinimums = 0, kUnit = 32, kUnitBytes = 9;
    static constexpr int kBlock = 66;

    // d (s + 1/2) / 4; s is the top nibble of each group's second word.
    static void header(const Strip& s, std::int64_t k, int, Header& h) {
        const std::int64_t block = k / kSuperBlock * kBlock;
        const F eighth = from_f16<0>(pick<0, 1, 0, 1>(s.rows, block)) * broadcast(0.125f);
        put<0>(h, eighth, high_nibbles(pick<7, 15, 23, 31>(s.rows, block + 2)));
        put<4>(h, eighth, high_nibbles(pick<39, 47, 55, 63>(s.rows, block + 2)));
    }
    // Each group: four indices of a byte, each for eight magnitudes; then four times seven signs.
    static void codes(const Strip& s, std::int64_t k, U* out) {
        const std::int64_t at = k / kSuperBlock * kBlock + 2 + k % kSuperBlock / 4;
        U words[2];
        gather_8(s, at, words);
#if defined(CACHALOT_SIMD_HAS_GRID_LOOKUP)
        grid_lookup(cachalot::kIq2xxsDigits.data(), words[0], even_ones(sevens_to_bytes(words[1])), kCodeOf,
                    out);
#else
        const U signs = even_ones(sevens_to_bytes(words[1]));
        eight<0>(s, at, signs, out);
        eight<1>(s, at, signs, out);
        eight<2>(s, at, signs, out);
        eight<3>(s, at, signs, out);
#endif
    }

  private:
    // Groups kFirst .. kFirst + 3, s of one in each byte.
    template <int kFirst>
    static void put(Header& h, F eighth, U s) {
        const F quarter = eighth + eighth;
        store(h.scales[kFirst], fma(quarter, from_byte<0>(s), eighth));
        store(h.scales[kFirst + 1], fma(quarter, from_byte<1>(s), eighth));
        store(h.scales[kFirst + 2], fma(quarter, from_byte<2>(s), eighth));
        store(h.scales[kFirst + 3], fma(quarter, from_byte<3>(s), eighth));
    }
    // The eighth bit of a byte makes the number of ones even.
    static U even_ones(U s) {
        static constexpr std::uint8_t kOdd[16] = {0,    0x80, 0x80, 0,    0x80, 0,    0,    0x80,
                                                  0x80, 0,    0,    0x80, 0,    0x80, 0x80, 0};
        return s | lookup(kOdd, low_nibbles(s) ^ high_nibbles(s));
    }
#if defined(CACHALOT_SIMD_HAS_GRID_LOOKUP)
    // The code of a digit (two bits) and a sign.
    static constexpr std::uint8_t kCodeOf[8] = {kOffset + 8, kOffset + 25, kOffset + 43, 0,
                                                kOffset - 8, kOffset - 25, kOffset - 43, 0};
#else
    static U sevens_to_bytes(U word) {
        return (word & repeat(0x7f)) | (shift_left<1>(word) & repeat(0x7f00)) |
               (shift_left<2>(word) & repeat(0x7f0000)) | (shift_left<3>(word) & repeat(0x7f000000));
    }
    template <int kPattern>
    static void eight(const Strip& s, std::int64_t at, U signs, U* out) {
        U magnitudes[2];
        gather_entries(cachalot::kIq2xxsGrid.data(), s, at + kPattern, magnitudes);
        const U left = bit_masks<kPattern, 0>(signs), right = bit_masks<kPattern, 1>(signs);
        out[2 * kPattern] = add_bytes(magnitudes[0] ^ left, subtract_bytes(repeat(0x2b2b2b2b), left));
        out[2 * kPattern + 1] = add_bytes(magnitudes[1] ^ right, subtract_bytes(repeat(0x2b2b2b2b), right));
    }
#endif
};
