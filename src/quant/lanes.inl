// Eight floats at a time, in the compiler's vector extension: two SSE or NEON registers, or one of AVX2. To
// be included inside the namespace of an instruction set.

using Floats = float __attribute__((vector_size(32)));
using Ints = std::int32_t __attribute__((vector_size(32)));
constexpr int kLanes = 8;

#define CACHALOT_LANES static inline __attribute__((always_inline))

CACHALOT_LANES Floats load(const float* p) {
    Floats v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
CACHALOT_LANES void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }
CACHALOT_LANES Floats splat(float v) { return Floats{v, v, v, v, v, v, v, v}; }
CACHALOT_LANES Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
CACHALOT_LANES Floats larger(Floats a, Floats b) { return a > b ? a : b; }
CACHALOT_LANES Floats clamp(Floats v, float low, float high) {
    return smaller(larger(v, splat(low)), splat(high));
}
// To the nearest integer, ties to even, for |v| < 2^22: what does not fit in the mantissa is rounded away.
CACHALOT_LANES Floats round(Floats v) { return (v + 12582912.0f) - 12582912.0f; }
CACHALOT_LANES float sum(Floats v) {
    return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}
CACHALOT_LANES float least(Floats v) {
    const float a = v[0] < v[1] ? v[0] : v[1], b = v[2] < v[3] ? v[2] : v[3];
    const float c = v[4] < v[5] ? v[4] : v[5], d = v[6] < v[7] ? v[6] : v[7];
    const float e = a < b ? a : b, f = c < d ? c : d;
    return e < f ? e : f;
}

CACHALOT_LANES void put_half(std::byte* at, std::uint16_t bits) { std::memcpy(at, &bits, sizeof bits); }

// The value of largest magnitude, with its sign.
template <int N>
CACHALOT_LANES float extreme(const float* x) {
    float best = 0;
    for (int i = 0; i < N; ++i)
        if (std::fabs(x[i]) > std::fabs(best)) best = x[i];
    return best;
}
