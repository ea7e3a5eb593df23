// The inner loops, written once over the vector types of a simd_*.h header. Included by one file per
// instruction set, after its header; everything here has internal linkage, so the copies do not meet.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

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
#include "kernels/cpu/rows_iq2_avx512.inl"
#include "kernels/cpu/rows_k_avx512.inl"
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

// The first `count` lanes of what `value` makes of them, for what is left of a row.
template <class Value>
inline void rest_of_row(float* x, int count, Value value) {
    float lanes[kLanes] = {};
    std::copy_n(x, count, lanes);
    store(lanes, value(load(lanes)));
    std::copy_n(lanes, count, x);
}

float exp_sum(float* x, float largest, int n) {
    const F m = broadcast(largest);
    F sum = broadcast(0);
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        const F e = exponential(load(x + i) - m);
        store(x + i, e);
        sum = sum + e;
    }
    if (i < n) rest_of_row(x + i, n - i, [&](F v) { return exponential(v - m); });
    float total = reduce_add(sum);
    for (; i < n; ++i) total += x[i];
    return total;
}

float largest_of(const float* x, float largest, int n) {
    F m = broadcast(largest);
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) m = maximum(m, load(x + i));
    largest = reduce_max(m);
    for (; i < n; ++i) largest = std::max(largest, x[i]);
    return largest;
}

void softmax_step(float* p, int heads, int keys, float* largest, float* sum, float* rescale) {
    for (int h = 0; h < heads; ++h) {
        const float high = largest_of(p + h * keys, largest[h], keys);
        rescale[h] = largest[h] - high;
        largest[h] = high;
    }
    for (int h = 0; h < heads; h += kLanes)
        rest_of_row(rescale + h, std::min(kLanes, heads - h), [](F v) { return exponential(v); });
    for (int h = 0; h < heads; ++h) sum[h] = sum[h] * rescale[h] + exp_sum(p + h * keys, largest[h], keys);
}

void pool(const float* const* scores, const float* const* values, int rows, int n, float* out) {
    for (int i = 0; i < n; i += kLanes) {
        F largest = broadcast(-std::numeric_limits<float>::infinity()), weight = broadcast(0), sum = weight;
        for (int r = 0; r < rows; ++r) largest = maximum(largest, load(scores[r] + i));
        for (int r = 0; r < rows; ++r) {
            const F e = exponential(load(scores[r] + i) - largest);
            weight = weight + e;
            sum = fma(e, load(values[r] + i), sum);
        }
        store(out + i, sum / weight);
    }
}

void swiglu(float* g, const float* u, float weight, float limit, std::int64_t n) {
    F high = broadcast(limit), low = broadcast(-limit), w = broadcast(weight), one = broadcast(1),
      zero = broadcast(0);
    for (std::int64_t i = 0; i < n; i += kLanes) {
        F gate = minimum(load(g + i), high), up = maximum(minimum(load(u + i), high), low);
        store(g + i, w * (gate / (one + exponential(zero - gate))) * up);
    }
}

// Dots of NQ queries with NK keys, so that what is loaded is used more than once, and lanes of results are
// added up for kLanes of them together.
template <int NQ, int NK>
void dots(const float* q, const float* k, int n, float (&out)[NQ * NK]) {
    F acc[NQ * NK];
    for (F& a : acc) a = broadcast(0);
    for (int i = 0; i < n; i += kLanes) {
        F keys[NK];
        for (int j = 0; j < NK; ++j) keys[j] = load(k + j * n + i);
        for (int h = 0; h < NQ; ++h) {
            const F query = load(q + h * n + i);
            for (int j = 0; j < NK; ++j) acc[h * NK + j] = fma(query, keys[j], acc[h * NK + j]);
        }
    }
    if constexpr (NQ * NK % kLanes == 0)
        for (int i = 0; i < NQ * NK; i += kLanes) store(out + i, reduce_add_each(acc + i));
    else
        for (int i = 0; i < NQ * NK; ++i) out[i] = reduce_add(acc[i]);
}

template <int NQ>
void scores_of(const float* q, const float* k, int keys, int n, float scale, float* out) {
    auto some = [&]<int NK>(int i, std::integral_constant<int, NK>) {
        float d[NQ * NK];
        dots<NQ, NK>(q, k + i * n, n, d);
        for (int h = 0; h < NQ; ++h)
            for (int j = 0; j < NK; ++j) out[h * keys + i + j] = d[h * NK + j] * scale;
    };
    int i = 0;
    for (; i + 4 <= keys; i += 4) some(i, std::integral_constant<int, 4>());
    for (; i < keys; ++i) some(i, std::integral_constant<int, 1>());
}

void scores(const float* q, int heads, const float* k, int keys, int n, float scale, float* out) {
    constexpr int kHeads = F::kRegisters >= 32 ? 4 : 2;  // times four keys
    int h = 0;
    for (; h + kHeads <= heads; h += kHeads) scores_of<kHeads>(q + h * n, k, keys, n, scale, out + h * keys);
    for (; h < heads; ++h) scores_of<1>(q + h * n, k, keys, n, scale, out + h * keys);
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

// Each lane is a row, since a row is too short for lanes: four by four numbers, one after the other.
void mix(const float* mixes, const float* inverse, int rows, const float* scale, const float* base,
         int iterations, float eps, float* pre, float* post, float* comb) {
    const F one = broadcast(1), epsilon = broadcast(eps);
    auto sigmoid = [&](F v) { return one / (one + exponential(broadcast(0) - v)); };
    for (int first = 0; first < rows; first += kLanes) {
        const int count = std::min(kLanes, rows - first);
        float lanes[kLanes] = {}, inverses[kLanes] = {};
        std::copy_n(inverse + first, count, inverses);
        const F factor = load(inverses);
        auto take = [&](int i, int part) {
            for (int r = 0; r < count; ++r) lanes[r] = mixes[(first + r) * 24 + i];
            return fma(load(lanes) * factor, broadcast(scale[part]), broadcast(base[i]));
        };
        auto put = [&](float* out, int stride, int i, F v) {
            store(lanes, v);
            for (int r = 0; r < count; ++r) out[(first + r) * stride + i] = lanes[r];
        };
        for (int j = 0; j < 4; ++j) put(pre, 4, j, sigmoid(take(j, 0)) + epsilon);
        for (int j = 0; j < 4; ++j) {
            const F s = sigmoid(take(4 + j, 1));
            put(post, 4, j, s + s);
        }
        F c[16];
        for (int i = 0; i < 16; ++i) c[i] = take(8 + i, 2);
        for (int j = 0; j < 16; j += 4) {
            const F high = maximum(maximum(c[j], c[j + 1]), maximum(c[j + 2], c[j + 3]));
            for (int k = 0; k < 4; ++k) c[j + k] = exponential(c[j + k] - high);
            const F sum = c[j] + c[j + 1] + c[j + 2] + c[j + 3];
            for (int k = 0; k < 4; ++k) c[j + k] = c[j + k] / sum + epsilon;
        }
        // Rows are four numbers that follow each other, columns every fourth one.
        auto normalize = [&](int apart, int next) {
            for (int j = 0; j < 4; ++j) {
                F* v = c + j * next;
                const F s = one / (v[0] + v[apart] + v[2 * apart] + v[3 * apart] + epsilon);
                for (int k = 0; k < 4; ++k) v[k * apart] = v[k * apart] * s;
            }
        };
        normalize(4, 1);
        for (int i = 1; i < iterations; ++i) {
            normalize(1, 4);
            normalize(4, 1);
        }
        for (int i = 0; i < 16; ++i) put(comb, 16, i, c[i]);
    }
}

// The two E2M1 values of a byte as E4M3, which has all of them.
struct E2m1Pairs {
    std::uint8_t values[256][2];
};
constexpr E2m1Pairs make_e2m1_pairs() {
    constexpr std::uint8_t kMagnitudes[8] = {0x00, 0x30, 0x38, 0x3c, 0x40, 0x44, 0x48, 0x4c};
    E2m1Pairs pairs{};
    for (int byte = 0; byte < 256; ++byte)
        for (int i = 0; i < 2; ++i) {
            const int code = byte >> (4 * i) & 15;
            pairs.values[byte][i] = static_cast<std::uint8_t>(kMagnitudes[code & 7] | (code & 8) << 4);
        }
    return pairs;
}
constexpr E2m1Pairs kE2m1Pairs = make_e2m1_pairs();

void decode_fp8_32(const std::byte* row, int n, float* x) {
    for (int i = 0; i < n; i += kLanes)
        store(x + i, load_e4m3(row + i) * broadcast(cachalot::e8m0_to_f32(static_cast<std::uint8_t>(
                                              row[n + i / cachalot::kFp8QuantGroup]))));
}

void decode_fp4_16(const std::byte* row, int n, float* x) {
    constexpr int kStep = 256;  // values, which are taken apart before any is used
    constexpr int kGroup = cachalot::kFp4QuantGroup;
    const std::byte* scales = row + n / 2;
    std::byte e4m3[kStep];
    for (int begin = 0; begin < n; begin += kStep) {
        const int count = std::min(kStep, n - begin);
        for (int i = 0; i < count; i += 2)
            __builtin_memcpy(e4m3 + i, kE2m1Pairs.values[static_cast<int>(row[(begin + i) / 2])], 2);
        for (int i = 0; i < count; i += kLanes)
            store(x + begin + i,
                  load_e4m3(e4m3 + i) * broadcast(cachalot::e4m3_to_f32(
                                            static_cast<std::uint8_t>(scales[(begin + i) / kGroup]))));
    }
}

void decode_row(const RowFormat& format, const std::byte* row, float* x) {
    if (format.kind == RowFormat::Kind::fp8_32) return decode_fp8_32(row, format.size, x);
    if (format.kind == RowFormat::Kind::fp4_16) return decode_fp4_16(row, format.size, x);
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

void add_gated(float* x, const float* key, const float* q, const float* k, const float* value, float eps,
               std::int64_t n) {
    F dots = broadcast(0);
    for (std::int64_t i = 0; i < n; i += kLanes)
        dots = fma(load(x + i) * load(key + i), load(q + i) * load(k + i), dots);
    const auto size = static_cast<float>(n);
    const float norms = (sum_of_squares(x, n) / size + eps) * (sum_of_squares(key, n) / size + eps);
    const float dot = reduce_add(dots) / std::sqrt(norms * size);
    const float fit = std::copysign(std::sqrt(std::max(std::fabs(dot), 1e-6f)), dot);
    const F gate = broadcast(1.0f / (1.0f + std::exp(-fit)));
    for (std::int64_t i = 0; i < n; i += kLanes) store(x + i, fma(gate, load(value + i), load(x + i)));
}

// ---- peaks. Enough independent chains to hide the latency of the arithmetic, all in registers; opaque()
// stops the compiler from noticing that the values are always the same and that nobody needs the result.

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

template <template <class> class HowPaired = std::type_identity_t>
constexpr cachalot::cpu::Table make_table(const char* name) {
    return {name,       matmul<HowPaired>, quantize,   round_to_bf16, rms_norm, sum_of_squares,
            scores,     index_scores,      accumulate, softmax_step,  pool,     swiglu,
            mix,        collapse,          spread,     decode_row,    add,      add_gated,
            float_peak, int8_peak};
}

}  // namespace
