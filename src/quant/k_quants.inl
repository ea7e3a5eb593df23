// Two levels of scales in blocks of 256: groups of 16 or 32 values have small integers s (and m), the block
// has their units d (and dmin) as halves.
//
// Problem: given d and dmin, groups are independent, and a group has few (s, m) to choose from; given all s,
// m and codes, d and dmin follow from two linear equations. The two depend on each other, and at four bits
// (Q2_K) rounding s and m costs more than all else: a tenth of a step in the scale of a whole group.
//
// Choice: (1) fit every group by itself as if scales were real numbers (uniform.inl); (2) for a few units
// around largest / most, round to the neighbours (s +- 1, m +- 1) that leave the least error, with codes
// chosen anew for each; (3) solve for the units, round again, keep the best of all. Where the integers have
// six bits or more one unit is enough, but more neighbours pay, since each is another draw in the lottery of
// uniform.inl; at four bits the units are tried on a small net.
//
// To be included inside the namespace of an instruction set, after uniform.inl.

// ---- value = s d q - m dmin: Q2_K, Q4_K, Q5_K

struct Pair {
    int s = 0, m = 0;
    float error = 0;
};

template <int N>
CACHALOT_LANES float line_error(const float* x, const float* w, float step, float low, float high) {
    const float inverse = step > 0 ? 1 / step : 0;
    Floats error{};
    for (int i = 0; i < N; i += kLanes) {
        const Floats v = load(x + i) + low, q = clamp(round(v * inverse), 0, high), missed = v - q * step;
        error += load(w + i) * missed * missed;
    }
    return sum(error);
}

template <int kGroup, int kHigh, int kMost>
struct LineBlock {
    static constexpr int kGroups = kSuperBlock / kGroup;
    std::uint16_t d = 0, dmin = 0;
    int s[kGroups] = {}, m[kGroups] = {};
    float error = HUGE_VALF;

    float step(int g) const { return f16_to_f32(d) * static_cast<float>(s[g]); }
    float low(int g) const { return f16_to_f32(dmin) * static_cast<float>(m[g]); }
};

CACHALOT_LANES int clamped(float v, int most) {
    const float r = std::nearbyint(v);
    return r < 0 ? 0 : r > static_cast<float>(most) ? most : static_cast<int>(r);
}

template <int kGroup, int kHigh, int kMost>
CACHALOT_LANES LineBlock<kGroup, kHigh, kMost> round_groups(const float* x, const float* w, const Line* lines,
                                                            std::uint16_t d, std::uint16_t dmin) {
    constexpr int kNearScale = kMost < 16 ? 1 : 2, kNearMinimum = kMost < 16 ? 1 : kHigh < 16 ? 2 : 3;
    LineBlock<kGroup, kHigh, kMost> block;
    block.d = d;
    block.dmin = dmin;
    block.error = 0;
    const float unit = f16_to_f32(d), low_unit = f16_to_f32(dmin);
    for (int g = 0; g < block.kGroups; ++g) {
        const float *xg = x + g * kGroup, *wg = w + g * kGroup;
        const int s0 = unit > 0 ? clamped(lines[g].step / unit, kMost) : 0;
        const int m0 = low_unit > 0 ? clamped(-lines[g].minimum / low_unit, kMost) : 0;
        Pair best{0, 0, HUGE_VALF};
        for (int s = s0 > kNearScale ? s0 - kNearScale : 0; s <= s0 + kNearScale && s <= kMost; ++s) {
            // A scale that is too small or too large by half a range moves the best minimum with it.
            const int shift =
                kMost < 16 && low_unit > 0
                    ? static_cast<int>(std::nearbyint((static_cast<float>(s) * unit - lines[g].step) *
                                                      (kHigh / 2.0f) / low_unit))
                    : 0;
            for (int m = m0 + shift - kNearMinimum; m <= m0 + shift + kNearMinimum; ++m) {
                if (m < 0 || m > kMost) continue;
                const float error = line_error<kGroup>(xg, wg, static_cast<float>(s) * unit,
                                                       static_cast<float>(m) * low_unit, kHigh);
                if (error < best.error) best = {s, m, error};
            }
        }
        if (best.error == HUGE_VALF)
            best = {s0, m0,
                    line_error<kGroup>(xg, wg, static_cast<float>(s0) * unit,
                                       static_cast<float>(m0) * low_unit, kHigh)};
        block.s[g] = best.s;
        block.m[g] = best.m;
        block.error += best.error;
    }
    return block;
}

// The units that least squares give for the block's integers and codes.
template <int kGroup, int kHigh, int kMost>
CACHALOT_LANES void solve_units(const float* x, const float* w, const LineBlock<kGroup, kHigh, kMost>& block,
                                float& d, float& dmin) {
    double a11 = 0, a12 = 0, a22 = 0, b1 = 0, b2 = 0;
    for (int g = 0; g < block.kGroups; ++g) {
        const float step = block.step(g), low = block.low(g), inverse = step > 0 ? 1 / step : 0;
        Floats sw{}, sx{}, sq{}, sqq{}, sxq{};
        for (int i = g * kGroup; i < (g + 1) * kGroup; i += kLanes) {
            const Floats v = load(x + i), wi = load(w + i), q = clamp(round((v + low) * inverse), 0, kHigh);
            sw += wi;
            sx += wi * v;
            sq += wi * q;
            sqq += wi * q * q;
            sxq += wi * v * q;
        }
        const double s = block.s[g], m = block.m[g];
        a11 += s * s * sum(sqq);
        a12 -= s * m * sum(sq);
        a22 += m * m * sum(sw);
        b1 += s * sum(sxq);
        b2 -= m * sum(sx);
    }
    const double determinant = a11 * a22 - a12 * a12;
    d = f16_to_f32(block.d);
    dmin = f16_to_f32(block.dmin);
    if (determinant > 1e-9 * a11 * a22) {
        d = static_cast<float>((b1 * a22 - b2 * a12) / determinant);
        dmin = static_cast<float>((b2 * a11 - b1 * a12) / determinant);
    } else if (a11 > 0) {
        d = static_cast<float>(b1 / a11);
    }
    if (d < 0) d = 0;
    if (dmin < 0) dmin = 0;
}

template <int kGroup, int kHigh, int kMost>
CACHALOT_LANES LineBlock<kGroup, kHigh, kMost> fit_block(const float* x, const float* w) {
    using Block = LineBlock<kGroup, kHigh, kMost>;
    Line lines[Block::kGroups];
    float largest = 0, lowest = 0;
    for (int g = 0; g < Block::kGroups; ++g) {
        lines[g] = search_line < kGroup, true,
        kHigh < 16 ? 4
                   : 6 > (x + g * kGroup, w + g * kGroup, kHigh,
                          kHigh < 4    ? 0.5f
                          : kHigh < 16 ? 0.7f
                                       : 1.0f,
                          kHigh < 4 ? 1.0f : 2.0f);
        if (lines[g].step > largest) largest = lines[g].step;
        if (-lines[g].minimum > lowest) lowest = -lines[g].minimum;
    }
    // Units as parts of the largest scale and minimum. Where the values come from FP4, the scales of groups
    // are powers of two apart, and a unit of 1/32 holds them exactly.
    struct Parts {
        float scale, minimum;
    };
    constexpr Parts kFine[] = {{63.4f, 63.4f}, {32, 32}, {60.4f, 63.4f}, {63.4f, 60.4f}};
    constexpr Parts kCoarse[] = {{15.4f, 15.4f}, {15.4f, 14.1f}, {15.4f, 12.8f}, {15.4f, 11.5f},
                                 {14.1f, 15.4f}, {14.1f, 14.1f}, {14.1f, 12.8f}, {14.1f, 11.5f},
                                 {12.8f, 15.4f}, {12.8f, 14.1f}, {12.8f, 12.8f}, {12.8f, 11.5f},
                                 {11.5f, 15.4f}, {11.5f, 14.1f}, {11.5f, 12.8f}, {11.5f, 11.5f}};
    constexpr int kTried = kMost < 16 ? 16 : 4;
    Block best;
    for (int i = 0; i < kTried; ++i) {
        const Parts parts = kMost < 16 ? kCoarse[i % 16] : kFine[i % 4];
        const Block found = round_groups<kGroup, kHigh, kMost>(x, w, lines, half_of(largest / parts.scale),
                                                               half_of(lowest / parts.minimum));
        if (found.error < best.error) best = found;
    }
    for (int polish = 0; polish < 2; ++polish) {
        float d, dmin;
        solve_units(x, w, best, d, dmin);
        const Block found = round_groups<kGroup, kHigh, kMost>(x, w, lines, half_of(d), half_of(dmin));
        if (!(found.error < best.error)) break;
        best = found;
    }
    return best;
}

template <int kGroup, int kHigh, int kMost>
CACHALOT_LANES void block_codes(const float* x, const LineBlock<kGroup, kHigh, kMost>& block,
                                std::uint8_t* q) {
    for (int i = 0; i < kSuperBlock; ++i) {
        const int g = i / kGroup;
        const float step = block.step(g), inverse = step > 0 ? 1 / step : 0;
        const float code = std::nearbyint((x[i] + block.low(g)) * inverse);
        q[i] = static_cast<std::uint8_t>(code < 0 ? 0 : code > kHigh ? kHigh : code);
    }
}

// Six-bit scales and minimums of eight groups in twelve bytes; q4k_group() in tensor/k_quants.h is the way
// back.
CACHALOT_LANES void put_pairs(const int* s, const int* m, std::byte* out) {
    for (int j = 0; j < 4; ++j) {
        out[j] = static_cast<std::byte>(s[j] | s[j + 4] >> 4 << 6);
        out[j + 4] = static_cast<std::byte>(m[j] | m[j + 4] >> 4 << 6);
        out[j + 8] = static_cast<std::byte>((s[j + 4] & 15) | (m[j + 4] & 15) << 4);
    }
}

CACHALOT_LANES void put_q4_codes(const std::uint8_t* q, std::byte* out) {
    for (int p = 0; p < 4; ++p)
        for (int i = 0; i < 32; ++i)
            out[32 * p + i] = static_cast<std::byte>((q[64 * p + i] & 15) | (q[64 * p + 32 + i] & 15) << 4);
}
CACHALOT_LANES void put_q2_codes(const std::uint8_t* q, std::byte* out) {
    for (int h = 0; h < 2; ++h)
        for (int i = 0; i < 32; ++i) {
            const std::uint8_t* v = q + 128 * h + i;
            out[32 * h + i] =
                static_cast<std::byte>((v[0] & 3) | (v[32] & 3) << 2 | (v[64] & 3) << 4 | (v[96] & 3) << 6);
        }
}
// Bit `bit` of the codes: byte i, bit j for value 32j + i.
CACHALOT_LANES void put_top_bits(const std::uint8_t* q, int bit, std::byte* out) {
    for (int i = 0; i < 32; ++i) {
        unsigned bits = 0;
        for (int j = 0; j < 8; ++j) bits |= (q[32 * j + i] >> bit & 1u) << j;
        out[i] = static_cast<std::byte>(bits);
    }
}

static void quantize_q4_k(const float* x, const float* w, std::byte* out) {
    const auto block = fit_block<32, 15, 63>(x, w);
    std::uint8_t q[kSuperBlock];
    block_codes(x, block, q);
    put_half(out, block.d);
    put_half(out + 2, block.dmin);
    put_pairs(block.s, block.m, out + 4);
    put_q4_codes(q, out + 16);
}

static void quantize_q5_k(const float* x, const float* w, std::byte* out) {
    const auto block = fit_block<32, 31, 63>(x, w);
    std::uint8_t q[kSuperBlock];
    block_codes(x, block, q);
    put_half(out, block.d);
    put_half(out + 2, block.dmin);
    put_pairs(block.s, block.m, out + 4);
    put_top_bits(q, 4, out + 16);
    put_q4_codes(q, out + 48);
}

static void quantize_q2_k(const float* x, const float* w, std::byte* out) {
    const auto block = fit_block<16, 3, 15>(x, w);
    std::uint8_t q[kSuperBlock];
    block_codes(x, block, q);
    for (int g = 0; g < 16; ++g) out[g] = static_cast<std::byte>(block.s[g] | block.m[g] << 4);
    put_q2_codes(q, out + 16);
    put_half(out + 80, block.d);
    put_half(out + 82, block.dmin);
}

// ---- value = s d q, all signed: Q3_K, Q6_K. Groups of 16.

struct SignedBlock {
    std::uint16_t d = 0;
    int s[16] = {};
    float error = HUGE_VALF;
    float step(int g) const { return f16_to_f32(d) * static_cast<float>(s[g]); }
};

CACHALOT_LANES float signed_error(const float* x, const float* w, float step, float low, float high) {
    const float inverse = step != 0 ? 1 / step : 0;
    Floats error{};
    for (int i = 0; i < 16; i += kLanes) {
        const Floats v = load(x + i), missed = v - clamp(round(v * inverse), low, high) * step;
        error += load(w + i) * missed * missed;
    }
    return sum(error);
}

// kReach: codes are -kReach .. kReach - 1; kMost: so are the scales.
template <int kReach, int kMost>
CACHALOT_LANES SignedBlock round_signed(const float* x, const float* w, const float* steps, std::uint16_t d) {
    constexpr int kNear = kReach < 8 ? 1 : 4;
    SignedBlock block;
    block.d = d;
    block.error = 0;
    const float unit = f16_to_f32(d);
    for (int g = 0; g < 16; ++g) {
        const int s0 = unit != 0 ? static_cast<int>(std::nearbyint(steps[g] / unit)) : 0;
        float best = HUGE_VALF;
        for (int s = s0 - kNear; s <= s0 + kNear; ++s) {
            const int tried = s < -kMost ? -kMost : s > kMost - 1 ? kMost - 1 : s;
            const float error =
                signed_error(x + 16 * g, w + 16 * g, static_cast<float>(tried) * unit, -kReach, kReach - 1);
            if (error < best) {
                best = error;
                block.s[g] = tried;
            }
        }
        block.error += best;
    }
    return block;
}

template <int kReach, int kMost>
CACHALOT_LANES SignedBlock fit_signed(const float* x, const float* w) {
    float steps[16];
    for (int g = 0; g < 16; ++g)
        steps[g] =
            search<16, true, 3>(x + 16 * g, w + 16 * g, -kReach, kReach - 1, -0.25f * kReach, 0.12f * kReach)
                .step;
    const float largest = extreme<16>(steps);
    SignedBlock best = round_signed<kReach, kMost>(x, w, steps, half_of(-largest / (kMost - 0.5f)));
    const SignedBlock even =
        round_signed<kReach, kMost>(x, w, steps, half_of(largest / (kMost / 2)));  // as above
    if (even.error < best.error) best = even;
    for (int polish = 0; polish < 2; ++polish) {
        double a = 0, b = 0;
        for (int g = 0; g < 16; ++g) {
            const float step = best.step(g), inverse = step != 0 ? 1 / step : 0;
            Floats sqq{}, sxq{};
            for (int i = 16 * g; i < 16 * g + 16; i += kLanes) {
                const Floats v = load(x + i), q = clamp(round(v * inverse), -kReach, kReach - 1),
                             wq = load(w + i) * q;
                sqq += wq * q;
                sxq += wq * v;
            }
            a += static_cast<double>(best.s[g]) * sum(sxq);
            b += static_cast<double>(best.s[g]) * best.s[g] * sum(sqq);
        }
        if (!(b > 0)) break;
        const SignedBlock found =
            round_signed<kReach, kMost>(x, w, steps, half_of(static_cast<float>(a / b)));
        if (!(found.error < best.error)) break;
        best = found;
    }
    return best;
}

template <int kReach>
CACHALOT_LANES void signed_codes(const float* x, const SignedBlock& block, std::uint8_t* q) {
    for (int g = 0; g < 16; ++g) {
        float found[16];
        codes<16>(x + 16 * g, block.step(g), -kReach, kReach - 1, found);
        for (int i = 0; i < 16; ++i)
            q[16 * g + i] = static_cast<std::uint8_t>(static_cast<int>(found[i]) + kReach);
    }
}

static void quantize_q3_k(const float* x, const float* w, std::byte* out) {
    const SignedBlock block = fit_signed<4, 32>(x, w);
    std::uint8_t q[kSuperBlock];
    signed_codes<4>(x, block, q);
    put_top_bits(q, 2, out);
    put_q2_codes(q, out + 32);
    std::byte* scales = out + 96;
    for (int i = 0; i < 8; ++i)
        scales[i] = static_cast<std::byte>(((block.s[i] + 32) & 15) | ((block.s[i + 8] + 32) & 15) << 4);
    for (int i = 0; i < 4; ++i) {
        unsigned bits = 0;
        for (int j = 0; j < 4; ++j) bits |= static_cast<unsigned>(block.s[4 * j + i] + 32) >> 4 << (2 * j);
        scales[8 + i] = static_cast<std::byte>(bits);
    }
    put_half(out + 108, block.d);
}

static void quantize_q6_k(const float* x, const float* w, std::byte* out) {
    const SignedBlock block = fit_signed<32, 128>(x, w);
    std::uint8_t q[kSuperBlock];
    signed_codes<32>(x, block, q);
    for (int h = 0; h < 2; ++h) {
        const std::uint8_t* v = q + 128 * h;
        for (int i = 0; i < 64; ++i)
            out[64 * h + i] = static_cast<std::byte>((v[i] & 15) | (v[64 + i] & 15) << 4);
        for (int i = 0; i < 32; ++i)
            out[128 + 32 * h + i] = static_cast<std::byte>(v[i] >> 4 | v[32 + i] >> 4 << 2 |
                                                           v[64 + i] >> 4 << 4 | v[96 + i] >> 4 << 6);
    }
    for (int g = 0; g < 16; ++g) out[192 + g] = static_cast<std::byte>(static_cast<std::int8_t>(block.s[g]));
    put_half(out + 208, block.d);
}
