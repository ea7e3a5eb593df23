// The inner loops, written once over the vector types of a simd_*.h header. Included by one file per instruction set,
// after its header; everything here has internal linkage, so the copies do not meet.
//
// Matrix products. A tile computes NW weight rows times NX activation rows, each of the NW*NX results in one vector
// accumulator that runs along the row and is summed across lanes at the end. Weights are unpacked 32 at a time into
// registers and used NX times. Two paths:
//
//   float    weights become float32 exactly; any type; the only path in exact mode
//   integer  4- and 8-bit weights times int8 activations, 32 products summed as integers, then one multiply by the
//            product of both scales
#include <algorithm>
#include <cmath>

#include "kernels/cpu/table.h"
#include "kernels/reference/rows.h"
#include "tensor/float_formats.h"

namespace {

using cachalot::DType;
using cachalot::Matrix;
using cachalot::RowFormat;
using cachalot::cpu::Activations;

constexpr int kLanes = F::kWidth;
constexpr int kVectors = 32 / kLanes;  // in a block of 32

// ---- unpacking: 32 weights of one row, as floats (load) or as bytes with a scale (codes)

struct FromF32 {
    static F load_vector(const std::byte* row, const std::uint8_t*, std::int64_t k) {
        return load(reinterpret_cast<const float*>(row) + k);
    }
};
struct FromF16 {
    static F load_vector(const std::byte* row, const std::uint8_t*, std::int64_t k) {
        return load_f16(row + 2 * k);
    }
};
struct FromBf16 {
    static F load_vector(const std::byte* row, const std::uint8_t*, std::int64_t k) {
        return load_bf16(row + 2 * k);
    }
};
struct FromE4m3 {
    static F load_vector(const std::byte* row, const std::uint8_t* scales, std::int64_t k) {
        return load_e4m3(row + k) * broadcast(cachalot::e8m0_to_f32(scales[k / cachalot::kFp8Block]));
    }
};

template <class Vector>
struct ByVector {
    static void load_block(const std::byte* row, const std::uint8_t* scales, std::int64_t k,
                           F (&out)[kVectors]) {
        for (int v = 0; v < kVectors; ++v) out[v] = Vector::load_vector(row, scales, k + v * kLanes);
    }
};

struct Mxfp4 {
    static B32 codes(const std::byte* row, const std::uint8_t*, std::int64_t k, float& scale) {
        const std::byte* block = row + k / 32 * 17;
        scale = 0.5f * cachalot::e8m0_to_f32(static_cast<std::uint8_t>(*block));
        return unpack_mxfp4(block + 1);
    }
};
struct Fp4Pairs {
    static B32 codes(const std::byte* row, const std::uint8_t* scales, std::int64_t k, float& scale) {
        scale = 0.5f * cachalot::e8m0_to_f32(scales[k / 32]);
        return unpack_pairs(row + k / 2);
    }
};
struct Q8_0 {
    static B32 codes(const std::byte* row, const std::uint8_t*, std::int64_t k, float& scale) {
        const std::byte* block = row + k / 32 * 34;
        std::uint16_t half;
        __builtin_memcpy(&half, block, 2);
        scale = cachalot::f16_to_f32(half);
        return load_bytes(block + 2);
    }
};
template <class Codes>
struct ByCodes {
    static void load_block(const std::byte* row, const std::uint8_t* scales, std::int64_t k,
                           F (&out)[kVectors]) {
        float scale;
        std::int8_t bytes[32];
        store_bytes(bytes, Codes::codes(row, scales, k, scale));
        for (int v = 0; v < kVectors; ++v) out[v] = load_i8(bytes + v * kLanes) * broadcast(scale);
    }
};

// ---- tiles

template <class Block, int NW, int NX>
void float_tile(const Matrix& w, std::int64_t n, const float* x, std::int64_t x_stride, float* y,
                std::int64_t y_stride) {
    const std::byte* rows[NW];
    const std::uint8_t* scales[NW];
    for (int i = 0; i < NW; ++i) {
        rows[i] = w.row(n + i);
        scales[i] = w.scales ? w.row_scales(n + i) : nullptr;
    }
    F acc[NW][NX];
    for (auto& line : acc)
        for (F& a : line) a = broadcast(0);
    for (std::int64_t k = 0; k < w.columns; k += 32)
        for (int i = 0; i < NW; ++i) {
            F block[kVectors];
            Block::load_block(rows[i], scales[i], k, block);
            for (int j = 0; j < NX; ++j)
                for (int v = 0; v < kVectors; ++v)
                    acc[i][j] = fma(block[v], load(x + j * x_stride + k + v * kLanes), acc[i][j]);
        }
    for (int i = 0; i < NW; ++i)
        for (int j = 0; j < NX; ++j) y[j * y_stride + n + i] = reduce_add(acc[i][j]);
}

template <class Codes, int NW, int NX>
void integer_tile(const Matrix& w, std::int64_t n, const std::int8_t* q, const float* q_scales,
                  std::int64_t q_stride, float* y, std::int64_t y_stride) {
    D acc[NW][NX];
    for (auto& line : acc)
        for (D& a : line) a = zero_d();
    for (std::int64_t k = 0; k < w.columns; k += 32)
        for (int i = 0; i < NW; ++i) {
            float scale;
            B32 codes = Codes::codes(w.row(n + i), w.scales ? w.row_scales(n + i) : nullptr, k, scale);
            for (int j = 0; j < NX; ++j)
                acc[i][j] = dot_scaled(codes, load_bytes(q + j * q_stride + k),
                                       scale * q_scales[(j * q_stride + k) / 32], acc[i][j]);
        }
    for (int i = 0; i < NW; ++i)
        for (int j = 0; j < NX; ++j) y[j * y_stride + n + i] = reduce_add(acc[i][j]);
}

// Covers [first, last) x [0, rows) with tiles: tile(integral_constant NW, integral_constant NX, n, r).
template <class Tile>
void cover(std::int64_t first, std::int64_t last, int rows, Tile tile) {
    auto columns = [&](auto nw, std::int64_t n) {
        int r = 0;
        for (; r + 4 <= rows; r += 4) tile(nw, std::integral_constant<int, 4>(), n, r);
        if (r + 2 <= rows) tile(nw, std::integral_constant<int, 2>(), n, r), r += 2;
        if (r < rows) tile(nw, std::integral_constant<int, 1>(), n, r);
    };
    std::int64_t n = first;
    if (rows == 1)
        for (; n + 4 <= last; n += 4)
            tile(std::integral_constant<int, 4>(), std::integral_constant<int, 1>(), n, 0);
    for (; n + 2 <= last; n += 2) columns(std::integral_constant<int, 2>(), n);
    if (n < last) columns(std::integral_constant<int, 1>(), n);
}

template <class Block>
void float_matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                  float* y, std::int64_t y_stride) {
    cover(first, last, rows, [&](auto nw, auto nx, std::int64_t n, int r) {
        float_tile<Block, nw(), nx()>(w, n, a.x + r * a.stride, a.stride, y + r * y_stride, y_stride);
    });
}

template <class Codes>
void code_matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                 float* y, std::int64_t y_stride) {
    if (!a.q) return float_matmul<ByCodes<Codes>>(w, first, last, a, rows, y, y_stride);
    cover(first, last, rows, [&](auto nw, auto nx, std::int64_t n, int r) {
        integer_tile<Codes, nw(), nx()>(w, n, a.q + r * a.q_stride, a.q_scales + r * a.q_stride / 32,
                                        a.q_stride, y + r * y_stride, y_stride);
    });
}

void matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows, float* y,
            std::int64_t y_stride) {
    switch (w.dtype) {
        case DType::f32: return float_matmul<ByVector<FromF32>>(w, first, last, a, rows, y, y_stride);
        case DType::f16: return float_matmul<ByVector<FromF16>>(w, first, last, a, rows, y, y_stride);
        case DType::bf16: return float_matmul<ByVector<FromBf16>>(w, first, last, a, rows, y, y_stride);
        case DType::f8_e4m3: return float_matmul<ByVector<FromE4m3>>(w, first, last, a, rows, y, y_stride);
        case DType::mxfp4: return code_matmul<Mxfp4>(w, first, last, a, rows, y, y_stride);
        case DType::fp4_pairs: return code_matmul<Fp4Pairs>(w, first, last, a, rows, y, y_stride);
        case DType::q8_0: return code_matmul<Q8_0>(w, first, last, a, rows, y, y_stride);
        default: cachalot::cpu::unsupported_type(w.dtype);
    }
}

void quantize(const float* x, std::int64_t n, std::int8_t* q, float* scales) {
    for (std::int64_t k = 0; k < n; k += 32) {
        F largest = broadcast(0);
        for (int i = 0; i < 32; i += kLanes) largest = maximum(largest, absolute(load(x + k + i)));
        float amax = std::min(reduce_max(largest), 1e30f);
        scales[k / 32] = amax / 127.0f;
        round_to_bytes(x + k, amax > 0 ? 127.0f / amax : 0.0f, q + k);
    }
}

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

// Calls use(h, i, q[h] . k[i]) for all pairs, eight heads at a time.
template <class Use>
void all_dots(const float* q, int heads, const float* k, int keys, int n, Use use) {
    int h = 0;
    for (; h + 8 <= heads; h += 8)
        for (int i = 0; i < keys; ++i) {
            float d[8];
            dots<8>(q + h * n, k + i * n, n, d);
            for (int j = 0; j < 8; ++j) use(h + j, i, d[j]);
        }
    for (; h < heads; ++h)
        for (int i = 0; i < keys; ++i) {
            float d[1];
            dots<1>(q + h * n, k + i * n, n, d);
            use(h, i, d[0]);
        }
}

void scores(const float* q, int heads, const float* k, int keys, int n, float scale, float* out) {
    all_dots(q, heads, k, keys, n, [&](int h, int i, float d) { out[h * keys + i] = d * scale; });
}

void index_scores(const float* q, const float* weights, int heads, const float* k, int keys, int n,
                  float* out) {
    std::fill_n(out, keys, 0.0f);
    all_dots(q, heads, k, keys, n, [&](int h, int i, float d) { out[i] += std::max(0.0f, d) * weights[h]; });
}

void accumulate(float* acc, float rescale, const float* p, const float* v, int keys, int n) {
    F scale = broadcast(rescale);
    for (int i = 0; i < n; i += 2 * kLanes) {
        F a = load(acc + i) * scale, b = load(acc + i + kLanes) * scale;
        for (int j = 0; j < keys; ++j) {
            F weight = broadcast(p[j]);
            a = fma(weight, load(v + j * n + i), a);
            b = fma(weight, load(v + j * n + i + kLanes), b);
        }
        store(acc + i, a);
        store(acc + i + kLanes, b);
    }
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

// ---- peaks. Enough independent chains to hide the latency of the arithmetic; `keep` stops the compiler from
// noticing that nobody needs the result.

template <class T>
void keep(T& value) {
    asm volatile("" : "+m"(value));
}

std::int64_t float_peak(std::int64_t rounds) {
    constexpr int kChains = 12;
    F acc[kChains], a = broadcast(0.999f), b = broadcast(1e-3f);
    for (F& x : acc) x = b;
    for (std::int64_t r = 0; r < rounds; ++r)
        for (F& x : acc) x = fma(x, a, b);
    for (F& x : acc) keep(x);
    return rounds * kChains * kLanes * 2;
}

std::int64_t int8_peak(std::int64_t rounds) {
    constexpr int kChains = 8;
    D acc[kChains];
    for (D& x : acc) x = zero_d();
    std::int8_t bytes[32] = {3, -5, 7};
    B32 w = load_bytes(bytes), x = w;
    for (std::int64_t r = 0; r < rounds; ++r) {
        keep(x);
        for (D& a : acc) a = dot_scaled(w, x, 0.5f, a);
    }
    for (D& a : acc) keep(a);
    return rounds * kChains * 32 * 2;
}

constexpr cachalot::cpu::Table make_table(const char* name) {
    return {name,    matmul, quantize, rms_norm, sum_of_squares, scores, index_scores, accumulate,
            exp_sum, swiglu, collapse, spread,   decode_row,     add,    float_peak,   int8_peak};
}

}  // namespace
