// Codes with equal steps.
//
// Problem: values x with weights w, codes q from low to high, value = step x q (or step x q + minimum). For a
// given step the best codes are the nearest; for given codes the best step is a quotient of two sums, and
// then the error is sum(w x^2) - sum(w x q)^2 / sum(w q^2). As a function of the step the error is a saw of
// many teeth: with steps far smaller than the values, which of them happen to lie close to a level is luck,
// and luck is worth 10 to 20 % of the error at eight bits. Descent would stop in the first dent.
//
// Choice: a fixed ladder of steps, each answered with the best step for the codes it leads to. With a
// minimum, the same on a net: the range of the codes begins and ends at a few places around the least and the
// largest value. Eight candidates are computed at a time, one in each lane. The winner is refined twice, with
// eight candidates close to it.
//
// Measured on Gaussian values against a net of 3721 candidates, the error of a group is 1 % larger at most
// (four bits; docs/quantisation.md has the table).
//
// To be included inside the namespace of an instruction set, after lanes.inl.

struct Step {
    float step = 0;
    float gain = 0;  // how much less than sum(w x^2) the error is
};

// Codes of x for eight values of 1 / step, answered with their own best steps; the best of them and `best`.
template <int N>
CACHALOT_LANES void answer(const float* x, const float* w, Floats inverse, float low, float high,
                           Step& best) {
    Floats xq{}, qq{};
    for (int i = 0; i < N; ++i) {
        const Floats q = clamp(round(inverse * x[i]), low, high), wq = q * w[i];
        xq += wq * x[i];
        qq += wq * q;
    }
    const Floats step = xq / larger(qq, splat(1e-37f)), gain = step * xq;
    for (int lane = 0; lane < kLanes; ++lane)
        if (gain[lane] > best.gain) best = {step[lane], gain[lane]};
}

constexpr Floats kFan = {-7, -5, -3, -1, 1, 3, 5, 7};  // candidates around a centre

// 1 / step = (reach + t) / extreme, t from `from` to `to` in kEights x 8 parts, reach being -low with
// kMirror, when the negatives of all are tried, too (for codes that reach farther on one side of zero), and
// high without.
template <int N, bool kMirror, int kEights>
CACHALOT_LANES Step search(const float* x, const float* w, float low, float high, float from, float to) {
    const float most = extreme<N>(x);
    Step best;
    if (most == 0) return best;
    const float reach = kMirror ? -low : high;
    for (int i = 0; i < kEights; ++i) {
        const Floats part = (kFan + (7.0f + 16.0f * static_cast<float>(i))) / (16.0f * kEights - 2.0f);
        const Floats inverse = (part * (to - from) + (reach + from)) / most;
        answer<N>(x, w, inverse, low, high, best);
        if (kMirror) answer<N>(x, w, -inverse, low, high, best);
    }
    for (int refine = 0; refine < 2 && best.step != 0; ++refine)
        answer<N>(x, w, (splat(1) + kFan * ((refine ? 0.01f : 0.04f) / reach)) / best.step, low, high, best);
    return best;
}

// The codes for a step that is final.
template <int N>
CACHALOT_LANES void codes(const float* x, float step, float low, float high, float* q) {
    const float inverse = step != 0 ? 1 / step : 0;
    for (int i = 0; i < N; i += kLanes) store(q + i, clamp(round(load(x + i) * inverse), low, high));
}

struct Line {
    float step = 0, minimum = 0;  // value = step x q + minimum
    float error = 0;
};

struct Moments {  // of the values alone
    float w = 0, x = 0, xx = 0;
};
template <int N>
CACHALOT_LANES Moments moments(const float* x, const float* w) {
    Floats s{}, sx{}, sxx{};
    for (int i = 0; i < N; i += kLanes) {
        const Floats v = load(x + i), wi = load(w + i), wx = wi * v;
        s += wi;
        sx += wx;
        sxx += wx * v;
    }
    return {sum(s), sum(sx), sum(sxx)};
}

// Codes 0..high of x for eight lines, answered with their own best lines. kNegative: a minimum may not be
// above 0.
template <int N, bool kNegative>
CACHALOT_LANES void answer(const float* x, const float* w, const Moments& m, Floats inverse, Floats minimum,
                           float high, Line& best) {
    Floats sq{}, sqq{}, sxq{};
    for (int i = 0; i < N; ++i) {
        const Floats q = clamp(round((x[i] - minimum) * inverse), 0, high), wq = q * w[i];
        sq += wq;
        sqq += wq * q;
        sxq += wq * x[i];
    }
    const Floats determinant = sqq * m.w - sq * sq, floor = sqq * (1e-6f * m.w) + 1e-37f;
    const Floats through_zero = sxq / larger(sqq, splat(1e-37f));
    Floats step = (sxq * m.w - sq * m.x) / larger(determinant, floor);
    Floats low = (sqq * m.x - sq * sxq) / larger(determinant, floor);
    // All codes equal say nothing about the two numbers apart, so the minimum is 0 then.
    step = determinant > floor ? step : through_zero;
    low = determinant > floor ? low : splat(0);
    if (kNegative) {
        step = low > 0 ? through_zero : step;
        low = smaller(low, splat(0));
    }
    // sum(w (x - step q - low)^2); not the shorter form that holds for an exact solution, which rounding
    // makes negative
    const Floats error =
        splat(m.xx) + step * step * sqq + low * low * m.w + 2.0f * (step * low * sq - step * sxq - low * m.x);
    for (int lane = 0; lane < kLanes; ++lane)
        if (error[lane] < best.error && step[lane] > 0) best = {step[lane], low[lane], error[lane]};
}

// The net: codes begin at least + a and end at most - b, in units of the step that just covers all values; a
// and b are -kReach .. kReach in kRows and 8 parts.
template <int N, bool kNegative, int kRows>
CACHALOT_LANES Line search_line(const float* x, const float* w, float high, float reach_low,
                                float reach_high) {
    float least = x[0], most = x[0];
    for (int i = 1; i < N; ++i) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    if (kNegative && least > 0) least = 0;
    const Moments m = moments<N>(x, w);
    Line best{0, kNegative && m.x > 0 ? 0 : m.x / m.w, 0};
    best.error = m.xx + best.minimum * (best.minimum * m.w - 2 * m.x);
    if (!(most > least)) return best;
    const float unit = (most - least) / high;
    for (int i = 0; i < kRows; ++i) {
        const float a = reach_low * (2 * static_cast<float>(i) / (kRows - 1) - 1);
        const float begin = kNegative && least + a * unit > 0 ? 0 : least + a * unit;
        const Floats end = splat(most) - kFan * (reach_high / 7 * unit);
        answer<N, kNegative>(x, w, m, high / larger(end - begin, splat(unit / 2)), splat(begin), high, best);
    }
    // Values that were FP4 before have 25 levels at most: with that many codes or more, a step of theirs fits
    // exactly.
    for (int i = 0; kRows > 4 && i < 2; ++i)
        answer<N, kNegative>(x, w, m,
                             (splat(high - 5.5f - 8.0f * static_cast<float>(i)) + kFan / 2) / (most - least),
                             splat(least), high, best);
    for (int refine = 0; refine < 2 && best.step > 0; ++refine) {
        const float spread = refine ? 0.02f : 0.06f;  // of a step, at either end
        answer<N, kNegative>(x, w, m, splat(1) / (best.step * (splat(1) + kFan * (spread / high))),
                             splat(best.minimum), high, best);
        const Floats moved = best.minimum + kFan * (spread * best.step);
        answer<N, kNegative>(x, w, m, splat(1 / best.step), kNegative ? smaller(moved, splat(0)) : moved,
                             high, best);
    }
    return best;
}

// A scale as a file holds it. Values so small that it would be 0 are, values too large for it become not
// finite, which the caller of the quantiser reports.
CACHALOT_LANES std::uint16_t half_of(float scale) { return f32_to_f16(scale); }

static void quantize_q8_0(const float* x, const float* w, std::byte* out) {
    const Step found = search<32, false, 6>(x, w, -127, 127, -20, 0.45f);
    const std::uint16_t d = half_of(found.step);
    float q[32];
    codes<32>(x, f16_to_f32(d), -127, 127, q);
    put_half(out, d);
    for (int i = 0; i < 32; ++i) out[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(q[i]));
}

// Codes 0..15 in 16 bytes: the low nibbles are the first 16 values.
CACHALOT_LANES void put_nibbles(const int* q, std::byte* out) {
    for (int i = 0; i < 16; ++i) out[i] = static_cast<std::byte>((q[i] & 15) | (q[16 + i] & 15) << 4);
}
CACHALOT_LANES void put_fifth_bits(const int* q, std::byte* out) {
    std::uint32_t bits = 0;
    for (int i = 0; i < 32; ++i) bits |= static_cast<std::uint32_t>(q[i] >> 4 & 1) << i;
    std::memcpy(out, &bits, sizeof bits);
}

template <int kBits>
CACHALOT_LANES void quantize_signed(const float* x, const float* w, std::byte* out) {
    constexpr int kOffset = 1 << (kBits - 1);
    const Step found = search<32, true, 3>(x, w, -kOffset, kOffset - 1, -0.3f * kOffset, 0.12f * kOffset);
    const std::uint16_t d = half_of(found.step);
    float values[32];
    int q[32];
    codes<32>(x, f16_to_f32(d), -kOffset, kOffset - 1, values);
    for (int i = 0; i < 32; ++i) q[i] = static_cast<int>(values[i]) + kOffset;
    put_half(out, d);
    if (kBits == 5) put_fifth_bits(q, out + 2);
    put_nibbles(q, out + (kBits == 5 ? 6 : 2));
}
static void quantize_q4_0(const float* x, const float* w, std::byte* out) { quantize_signed<4>(x, w, out); }
static void quantize_q5_0(const float* x, const float* w, std::byte* out) { quantize_signed<5>(x, w, out); }

template <int kBits>
CACHALOT_LANES void quantize_line(const float* x, const float* w, std::byte* out) {
    constexpr int kHigh = (1 << kBits) - 1;
    const Line found = search_line < 32, false,
               kBits == 4 ? 4 : 6 > (x, w, kHigh, kBits == 4 ? 0.7f : 1.0f, 2.0f);
    const std::uint16_t d = half_of(found.step), m = half_of(found.minimum);
    const float step = f16_to_f32(d), inverse = step > 0 ? 1 / step : 0;
    float shifted[32], values[32];
    int q[32];
    for (int i = 0; i < 32; ++i) shifted[i] = x[i] - f16_to_f32(m);
    for (int i = 0; i < 32; i += kLanes)
        store(values + i, clamp(round(load(shifted + i) * inverse), 0, kHigh));
    for (int i = 0; i < 32; ++i) q[i] = static_cast<int>(values[i]);
    put_half(out, d);
    put_half(out + 2, m);
    if (kBits == 5) put_fifth_bits(q, out + 4);
    put_nibbles(q, out + (kBits == 5 ? 8 : 4));
}
static void quantize_q4_1(const float* x, const float* w, std::byte* out) { quantize_line<4>(x, w, out); }
static void quantize_q5_1(const float* x, const float* w, std::byte* out) { quantize_line<5>(x, w, out); }

// MXFP4's scales are powers of two, so there are only three to try: that of the OCP rule, which lets the
// largest value lie below 8 (and saturate at 6), and its neighbours.
static void quantize_mxfp4(const float* x, const float* w, std::byte* out) {
    const float most = std::fabs(extreme<32>(x));
    std::uint8_t best_codes[32] = {};
    int best_exponent = 0;
    float best = HUGE_VALF;
    const int rule = most > 0 ? std::ilogb(most) - 2 : 0;
    for (int exponent = rule - 1; exponent <= rule + 1; ++exponent) {
        const int e = exponent < -126 ? -126 : exponent > 127 ? 127 : exponent;
        const float scale = exp2i(e), inverse = e == 127 ? 0x1p-127f : exp2i(-e);
        std::uint8_t found[32];
        float error = 0;
        for (int i = 0; i < 32; ++i) {
            found[i] = f32_to_e2m1(x[i] * inverse);
            const float missed = x[i] - e2m1_to_f32(found[i]) * scale;
            error += w[i] * missed * missed;
        }
        if (error < best) {
            best = error;
            best_exponent = e;
            std::memcpy(best_codes, found, sizeof found);
        }
    }
    if (most == 0) best_exponent = 0;
    out[0] = static_cast<std::byte>(best_exponent + 127);
    for (int i = 0; i < 16; ++i) out[1 + i] = static_cast<std::byte>(best_codes[i] | best_codes[16 + i] << 4);
}
