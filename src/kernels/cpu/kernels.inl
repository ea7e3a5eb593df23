// The inner loops, written once over the vector types of a simd_*.h header. Included by one file per instruction set,
// after its header; everything here has internal linkage, so the copies do not meet.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/cpu/table.h"
#include "kernels/reference/rows.h"
#include "tensor/convert.h"
#include "tensor/float_formats.h"
#include "tensor/k_quants.h"

namespace {

using cachalot::DType;
using cachalot::Matrix;
using cachalot::RowFormat;
using cachalot::cpu::Activations;
using cachalot::cpu::Int8Group;

#include "kernels/cpu/formats.inl"
#include "kernels/cpu/formats_256.inl"
#if defined(CACHALOT_SIMD_HAS_ROWS)
#include "kernels/cpu/rows_avx512.inl"
#endif
#include "kernels/cpu/products.inl"

// ---- vectors

float sum_of_squares(const float* x, std::int64_t n) {
    F a = broadcast(0), b = a;
    for (std::int64_t i = 0; i < n; i += 2 * kLanes) {
        F u = load(x + i), v = load(x + i + kLanes);
        a = fma(u, u, a);
        b = fma(v, v, b);
    }
    return reduce_add(a + b);
}

void rms_norm(float* x, const float* weight, float eps, int n) {
    F inverse = broadcast(1.0f / std::sqrt(sum_of_squares(x, n) / static_cast<float>(n) + eps));
    for (int i = 0; i < n; i += kLanes) {
        F v = load(x + i) * inverse;
        store(x + i, weight ? v * load(weight + i) : v);
    }
}

// e^x to about one unit in the last place for x <= 88; below -87 the result is 0 or the smallest normals.
// x = n ln2 + r, |r| <= ln2/2, a polynomial of degree 6 in r (Cephes' coefficients), then times 2^n.
F exponential(F x) {
    x = maximum(minimum(x, broadcast(88.0f)), broadcast(-87.0f));
    F n = round_even(x * broadcast(1.44269504088896341f));
    F r = fma(n, broadcast(-0.693359375f), x);
    r = fma(n, broadcast(2.12194440e-4f), r);
    F p = broadcast(1.9875691500e-4f);
    p = fma(p, r, broadcast(1.3981999507e-3f));
    p = fma(p, r, broadcast(8.3334519073e-3f));
    p = fma(p, r, broadcast(4.1665795894e-2f));
    p = fma(p, r, broadcast(1.6666665459e-1f));
    p = fma(p, r, broadcast(5.0000001201e-1f));
    p = fma(p, r * r, r) + broadcast(1.0f);
    return times_pow2(p, n);
}

float exp_sum(float* x, float largest, int n) {
    F m = broadcast(largest), sum = broadcast(0);
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        F e = exponential(load(x + i) - m);
        store(x + i, e);
        sum = sum + e;
    }
    float total = reduce_add(sum);
    for (; i < n; ++i) total += x[i] = std::exp(x[i] - largest);
    return total;
}

void swiglu(float* g, const float* u, float weight, float limit, std::int64_t n) {
    F high = broadcast(limit), low = broadcast(-limit), w = broadcast(weight), one = broadcast(1),
      zero = broadcast(0);
    for (std::int64_t i = 0; i < n; i += kLanes) {
        F gate = minimum(load(g + i), high), up = maximum(minimum(load(u + i), high), low);
        store(g + i, w * (gate / (one + exponential(zero - gate))) * up);
    }
}

// Dots of NQ queries with one key.
template <int NQ>
void dots(const float* q, const float* k, int n, float (&out)[NQ]) {
    F acc[NQ];
    for (F& a : acc) a = broadcast(0);
    for (int i = 0; i < n; i += kLanes) {
        F key = load(k + i);
        for (int h = 0; h < NQ; ++h) acc[h] = fma(load(q + h * n + i), key, acc[h]);
    }
    for (int h = 0; h < NQ; ++h) out[h] = reduce_add(acc[h]);
}

void scores(const float* q, int heads, const float* k, int keys, int n, float scale, float* out) {
    int h = 0;
    for (; h + 8 <= heads; h += 8)
        for (int i = 0; i < keys; ++i) {
            float d[8];
            dots<8>(q + h * n, k + i * n, n, d);
            for (int j = 0; j < 8; ++j) out[(h + j) * keys + i] = d[j] * scale;
        }
    for (; h < heads; ++h)
        for (int i = 0; i < keys; ++i) {
            float d[1];
            dots<1>(q + h * n, k + i * n, n, d);
            out[h * keys + i] = d[0] * scale;
        }
}

void index_scores(const float* dots, const float* weights, int heads, int keys, std::int64_t stride,
                  float* out) {
    int i = 0;
    for (; i + kLanes <= keys; i += kLanes) {
        F sum = broadcast(0);
        for (int h = 0; h < heads; ++h)
            sum = fma(maximum(load(dots + h * stride + i), broadcast(0)), broadcast(weights[h]), sum);
        store(out + i, sum);
    }
    for (; i < keys; ++i) {
        out[i] = 0;
        for (int h = 0; h < heads; ++h) out[i] += std::max(0.0f, dots[h * stride + i]) * weights[h];
    }
}

// NH heads at a time, so that a value is loaded once for all of them.
template <int NH>
void accumulate_heads(float* acc, const float* rescale, const float* p, const float* v, int keys, int n) {
    for (int i = 0; i < n; i += 2 * kLanes) {
        F a[NH], b[NH];
        for (int h = 0; h < NH; ++h) {
            a[h] = load(acc + h * n + i) * broadcast(rescale[h]);
            b[h] = load(acc + h * n + i + kLanes) * broadcast(rescale[h]);
        }
        for (int j = 0; j < keys; ++j) {
            const F left = load(v + j * n + i), right = load(v + j * n + i + kLanes);
            for (int h = 0; h < NH; ++h) {
                const F weight = broadcast(p[h * keys + j]);
                a[h] = fma(weight, left, a[h]);
                b[h] = fma(weight, right, b[h]);
            }
        }
        for (int h = 0; h < NH; ++h) {
            store(acc + h * n + i, a[h]);
            store(acc + h * n + i + kLanes, b[h]);
        }
    }
}

void accumulate(float* acc, const float* rescale, const float* p, int heads, const float* v, int keys,
                int n) {
    int h = 0;
    for (; h + 4 <= heads; h += 4) accumulate_heads<4>(acc + h * n, rescale + h, p + h * keys, v, keys, n);
    for (; h < heads; ++h) accumulate_heads<1>(acc + h * n, rescale + h, p + h * keys, v, keys, n);
}

void collapse(const float* pre, const float* streams, float* out, int n) {
    F w[4];
    for (int j = 0; j < 4; ++j) w[j] = broadcast(pre[j]);
    for (int i = 0; i < n; i += kLanes) {
        F sum = w[0] * load(streams + i);
        for (int j = 1; j < 4; ++j) sum = fma(w[j], load(streams + j * n + i), sum);
        store(out + i, sum);
    }
}

void spread(const float* out, const float* post, const float* comb, float* streams, int n) {
    for (int i = 0; i < n; i += kLanes) {
        F o = load(out + i), old[4];
        for (int j = 0; j < 4; ++j) old[j] = load(streams + j * n + i);
        for (int k = 0; k < 4; ++k) {
            F sum = broadcast(post[k]) * o;
            for (int j = 0; j < 4; ++j) sum = fma(broadcast(comb[4 * j + k]), old[j], sum);
            store(streams + k * n + i, sum);
        }
    }
}

void decode_row(const RowFormat& format, const std::byte* row, float* x) {
    if (format.kind != RowFormat::Kind::fp8_kv) return cachalot::decode_row(format, row, x);
    int plain = format.size - format.rotary;
    const std::byte* rotated = row + plain;
    const auto* scales = reinterpret_cast<const std::uint8_t*>(rotated + 2 * format.rotary);
    for (int i = 0; i < plain; i += kLanes)
        store(x + i,
              load_e4m3(row + i) * broadcast(cachalot::e8m0_to_f32(scales[i / cachalot::kKvQuantGroup])));
    for (int i = 0; i < format.rotary; i += kLanes) store(x + plain + i, load_bf16(rotated + 2 * i));
}

void add(float* y, const float* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; i += kLanes) store(y + i, load(y + i) + load(x + i));
}

// ---- peaks. Enough independent chains to hide the latency of the arithmetic, all in registers; opaque() stops the
// compiler from noticing that the values are always the same and that nobody needs the result.

// The chains are variables of their own, since compilers do not keep all of an array in registers.
std::int64_t float_peak(std::int64_t rounds) {
    F x = broadcast(0.999f), y = broadcast(1e-3f);
    F a = y, b = y, c = y, d = y, e = y, f = y, g = y, h = y, i = y, j = y;
    auto turn = [&](auto&... chain) __attribute__((always_inline)) {
        ((opaque(x), chain = fma(chain, x, y)), ...);
    };
    for (std::int64_t r = 0; r < rounds; ++r) turn(a, b, c, d, e, f, g, h, i, j);
    F sum = a + b + c + d + e + f + g + h + i + j;
    opaque(sum);
    return rounds * 10 * kLanes * 2;
}

// The codes that take the fewest instructions.
std::int64_t int8_peak(std::int64_t rounds) {
    std::int8_t q[32];
    for (int i = 0; i < 32; ++i) q[i] = i % 2 ? -1 : 1;
    const std::byte bytes[16] = {};
    const std::byte* rows[kLanes];
    std::fill_n(rows, kLanes, bytes);
    U codes[4];
    gather(rows, 0, codes);
    U x = codes[0];
    const Sum<Codes::narrow, 0> zero(Int8Group{});
    auto a = zero, b = zero, c = zero, d = zero, e = zero, f = zero, g = zero, h = zero, i = zero, j = zero;
    auto eight = [&](auto& chain) __attribute__((always_inline)) {  // as many as in a group of 32 columns
        for (int n = 0; n < 8; ++n) {
            opaque(x);
            chain.add(x, q, n);
        }
    };
    auto turn = [&](auto&... chain) __attribute__((always_inline)) { (eight(chain), ...); };
    for (std::int64_t r = 0; r < rounds; ++r) turn(a, b, c, d, e, f, g, h, i, j);
    F sum = a.value() + b.value() + c.value() + d.value() + e.value() + f.value() + g.value() + h.value() +
            i.value() + j.value();
    opaque(sum);
    return rounds * 10 * 8 * kLanes * 4 * 2;
}

#if defined(CACHALOT_SIMD_HAS_BF16)
void round_to_bf16(const float* x, std::int64_t n, std::uint16_t* b) {
    for (std::int64_t i = 0; i < n; i += B::kWidth)
        store(b + i, round_to_bf16(load(x + i), load(x + i + kLanes)));
}
#else
constexpr void (*round_to_bf16)(const float*, std::int64_t, std::uint16_t*) = nullptr;
#endif

constexpr cachalot::cpu::Table make_table(const char* name) {
    return {name,   matmul,       quantize,   round_to_bf16, rms_norm, sum_of_squares,
            scores, index_scores, accumulate, exp_sum,       swiglu,   collapse,
            spread, decode_row,   add,        float_peak,    int8_peak};
}

}  // namespace
