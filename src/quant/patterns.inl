// Patterns from a table: IQ2_XXS (256 of eight magnitudes), IQ3_XXS (256 of four).
//
// Problem: for a scale c, the magnitudes g of pattern p leave the error sum(w (|x| - c g)^2), so the best
// pattern is the one with the least c^2 G(p) - 2c X(p), where G(p) = sum(w g^2) and X(p) = sum(w |x| g). A
// search over all patterns for every scale that is tried looks hopeless: 2048 products for eight values each
// time.
//
// Choice: neither G nor X depends on c. They are computed once, then a scale costs two multiplications per
// pattern, and nothing has to be approximated: all patterns are tried for every scale. Without weights G is a
// constant of the table.
//
// Signs: of eight values seven signs are stored and the eighth makes the number of negative ones even. Where
// it is odd, one value must get the wrong sign. The loss is about 4 w |x| c g; g is mostly the smallest
// magnitude for a small |x|, so the value with the least w |x| is turned, that is, enters X with its
// magnitude negative.
//
// The scale of a group of 32 is c = d (2s + 1) / 8 (or / 4) with four bits for s. First every group looks for
// its own best c on a ladder; then some d around what the largest needs are tried, each group taking the
// better of the two nearest s; last, d is refined by least squares.
//
// To be included inside the namespace of an instruction set, after uniform.inl.

// Groups of 32 values.
template <int kValues>  // of a pattern
struct Patterns {
    static constexpr int kCount = 256, kParts = 32 / kValues;
    // [patterns / 8][values][8], so that eight patterns are computed at a time
    alignas(32) float magnitudes[kCount * kValues];
    alignas(32) float squares[kCount];  // G for weights of 1

    template <class Grid, class Magnitudes>
    Patterns(const Grid& grid, int bits, const Magnitudes& levels) {
        for (int p = 0; p < kCount; ++p) {
            float square = 0;
            for (int i = 0; i < kValues; ++i) {
                const float g = static_cast<float>(levels[grid[p] >> (bits * i) & ((1 << bits) - 1)]);
                magnitudes[(p / kLanes * kValues + i) * kLanes + p % kLanes] = g;
                square += g * g;
            }
            squares[p] = square;
        }
    }
    float magnitude(int p, int i) const {
        return magnitudes[(p / kLanes * kValues + i) * kLanes + p % kLanes];
    }

    // out[p] = sum over the pattern's values of a * g (or g^2)
    template <bool kSquare>
    CACHALOT_LANES void products(const Patterns& table, const float* a, float* out) {
        const float* g = table.magnitudes;
        for (int p = 0; p < kCount; p += kLanes) {
            Floats total{};
            for (int i = 0; i < kValues; ++i, g += kLanes) {
                const Floats v = load(g);
                total += (kSquare ? v * v : v) * a[i];
            }
            store(out + p, total);
        }
    }
};

template <int kValues>
struct PatternGroup {
    using Table = Patterns<kValues>;
    std::uint8_t stored_signs[4];  // seven bits each
    float magnitudes[32];          // |x|, one of eight negative where parity forces a wrong sign
    float largest = 0;
    alignas(32) float products[Table::kParts][Table::kCount];  // X
    alignas(32) float squares[Table::kParts][Table::kCount];   // G
    bool weighted = false;
};

template <int kValues>
CACHALOT_LANES void prepare(const Patterns<kValues>& table, const float* x, const float* w, bool weighted,
                            PatternGroup<kValues>& group) {
    group.largest = 0;
    group.weighted = weighted;
    for (int o = 0; o < 4; ++o) {
        unsigned signs = 0;
        int weakest = 0;
        float weakest_loss = HUGE_VALF;
        for (int i = 0; i < 8; ++i) {
            const int at = 8 * o + i;
            const float magnitude = std::fabs(x[at]);
            signs |= (x[at] < 0 ? 1u : 0u) << i;
            group.magnitudes[at] = magnitude;
            if (magnitude > group.largest) group.largest = magnitude;
            if (w[at] * magnitude < weakest_loss) weakest_loss = w[at] * magnitude, weakest = i;
        }
        if (__builtin_popcount(signs) % 2) {
            signs ^= 1u << weakest;
            group.magnitudes[8 * o + weakest] *= -1;
        }
        group.stored_signs[o] = static_cast<std::uint8_t>(signs & 127);
    }
    for (int part = 0; part < Patterns<kValues>::kParts; ++part) {
        float a[kValues];
        for (int i = 0; i < kValues; ++i) a[i] = w[part * kValues + i] * group.magnitudes[part * kValues + i];
        Patterns<kValues>::template products<false>(table, a, group.products[part]);
        if (weighted)
            Patterns<kValues>::template products<true>(table, w + part * kValues, group.squares[part]);
    }
}

// The least error of the group for scale c, less sum(w x^2).
template <int kValues>
CACHALOT_LANES float scale_error(const Patterns<kValues>& table, const PatternGroup<kValues>& group,
                                 float c) {
    float total = 0;
    const float cc = c * c, c2 = 2 * c;
    for (int part = 0; part < table.kParts; ++part) {
        const float *x = group.products[part], *g = group.weighted ? group.squares[part] : table.squares;
        Floats a = splat(HUGE_VALF), b = a;
        for (int p = 0; p < table.kCount; p += 2 * kLanes) {
            a = smaller(a, load(g + p) * cc - load(x + p) * c2);
            b = smaller(b, load(g + p + kLanes) * cc - load(x + p + kLanes) * c2);
        }
        total += least(smaller(a, b));
    }
    return total;
}

template <int kValues>
CACHALOT_LANES int best_pattern(const Patterns<kValues>& table, const PatternGroup<kValues>& group, int part,
                                float c) {
    const float *x = group.products[part], *g = group.weighted ? group.squares[part] : table.squares;
    const float cc = c * c, c2 = 2 * c;
    alignas(32) float errors[Patterns<kValues>::kCount];
    Floats a = splat(HUGE_VALF);
    for (int p = 0; p < table.kCount; p += kLanes) {
        const Floats e = load(g + p) * cc - load(x + p) * c2;
        store(errors + p, e);
        a = smaller(a, e);
    }
    const float least_error = least(a);
    int p = 0;
    while (p + 1 < table.kCount && errors[p] != least_error) ++p;
    return p;
}

struct PatternBlock {
    std::uint16_t d = 0;
    int s[8] = {};
    float error = HUGE_VALF;
};

// kUnit: c = d (2s + 1) / kUnit.
template <int kValues, int kUnit>
CACHALOT_LANES PatternBlock round_scales(const Patterns<kValues>& table, const PatternGroup<kValues>* groups,
                                         const float* scales, std::uint16_t d) {
    PatternBlock block;
    block.d = d;
    block.error = 0;
    const float unit = f16_to_f32(d) / kUnit;
    for (int g = 0; g < 8; ++g) {
        const float wanted = unit > 0 ? (scales[g] / unit - 1) / 2 : 0;
        const int below = wanted <= 0 ? 0 : wanted >= 15 ? 15 : static_cast<int>(wanted);
        float best = HUGE_VALF;
        for (int s = below; s <= below + 1 && s < 16; ++s) {
            const float error = scale_error(table, groups[g], unit * static_cast<float>(2 * s + 1));
            if (error < best) best = error, block.s[g] = s;
        }
        block.error += best;
    }
    return block;
}

template <int kValues, int kUnit>
CACHALOT_LANES PatternBlock fit_patterns(const Patterns<kValues>& table, const float* x, const float* w,
                                         PatternGroup<kValues>* groups,
                                         std::uint8_t (*chosen)[32 / kValues]) {
    bool weighted = false;
    for (int i = 0; i < kSuperBlock; ++i) weighted |= w[i] != 1;
    const float reach = table.magnitude(table.kCount - 1, kValues - 1);
    float scales[8], largest = 0;
    for (int g = 0; g < 8; ++g) {
        prepare(table, x + 32 * g, w + 32 * g, weighted, groups[g]);
        float best = 0;
        scales[g] = 0;
        constexpr int kLadder = 16;
        for (int i = 0; i < kLadder && groups[g].largest > 0; ++i) {
            const float c = groups[g].largest / (reach * (0.65f + 0.05f * static_cast<float>(i)));
            const float error = scale_error(table, groups[g], c);
            if (error < best) best = error, scales[g] = c;
        }
        if (scales[g] > largest) largest = scales[g];
    }
    PatternBlock best;
    if (largest == 0) {  // zero, or smaller than any pattern can say
        best.error = 0;
    } else {
        for (int i = 0; i < 7; ++i) {
            const float d = largest * kUnit / 31 * (0.91f + 0.03f * static_cast<float>(i));
            const PatternBlock found = round_scales<kValues, kUnit>(table, groups, scales, half_of(d));
            if (found.error < best.error) best = found;
        }
    }
    for (int pass = 0;; ++pass) {
        double xy = 0, yy = 0;  // y: what is decoded for d = 1
        for (int g = 0; g < 8; ++g) {
            const float part_of_d = static_cast<float>(2 * best.s[g] + 1) / kUnit;
            const float c = f16_to_f32(best.d) * part_of_d;
            for (int part = 0; part < table.kParts; ++part) {
                const int p = best_pattern(table, groups[g], part, c);
                chosen[g][part] = static_cast<std::uint8_t>(p);
                const float square = groups[g].weighted ? groups[g].squares[part][p] : table.squares[p];
                xy += part_of_d * groups[g].products[part][p];
                yy += part_of_d * part_of_d * square;
            }
        }
        if (pass == 1 || !(yy > 0) || !(xy > 0)) return best;
        const std::uint16_t d = half_of(static_cast<float>(xy / yy));
        const PatternBlock found = round_scales<kValues, kUnit>(table, groups, scales, d);
        if (!(found.error < best.error)) return best;
        best = found;
    }
}

// Patterns and signs are chosen for a scale; the words with signs and scales are the same in both formats.
template <int kValues>
CACHALOT_LANES std::uint32_t signs_and_scale(const PatternGroup<kValues>& group, int s) {
    std::uint32_t word = static_cast<std::uint32_t>(s) << 28;
    for (int o = 0; o < 4; ++o) word |= static_cast<std::uint32_t>(group.stored_signs[o]) << (7 * o);
    return word;
}

static void quantize_iq2_xxs(const float* x, const float* w, std::byte* out) {
    static const Patterns<8> table(kIq2xxsDigits, 2, kIq2Magnitudes);
    PatternGroup<8> groups[8];
    std::uint8_t chosen[8][4];
    const PatternBlock block = fit_patterns<8, 8>(table, x, w, groups, chosen);
    put_half(out, block.d);
    for (int g = 0; g < 8; ++g) {
        const std::uint32_t word = signs_and_scale(groups[g], block.s[g]);
        std::memcpy(out + 2 + 8 * g, chosen[g], 4);
        std::memcpy(out + 6 + 8 * g, &word, 4);
    }
}

static void quantize_iq3_xxs(const float* x, const float* w, std::byte* out) {
    static const Patterns<4> table(kIq3xxsGrid, 4, kIq3xxsMagnitudes);
    PatternGroup<4> groups[8];
    std::uint8_t chosen[8][8];
    const PatternBlock block = fit_patterns<4, 4>(table, x, w, groups, chosen);
    put_half(out, block.d);
    for (int g = 0; g < 8; ++g) {
        const std::uint32_t word = signs_and_scale(groups[g], block.s[g]);
        std::memcpy(out + 2 + 8 * g, chosen[g], 8);
        std::memcpy(out + 66 + 4 * g, &word, 4);
    }
}
