// The inner loops, one set per instruction set, behind one table of function pointers.
//
// An instruction set is a vector header (simd_*.h) and a file that includes kernels.inl with it; a format of
// weights is a struct in formats.inl. CONTRIBUTING.md lists the other places that name them. The table is
// chosen once, at run time, from what the processor can do.
//
// Every function works on one thread. Lengths are multiples of 32 (checked when a model is bound). The order
// in which an element's sum is taken depends on its length only, never on its neighbours: a row gives the
// same bits alone and in a batch.
#pragma once

#include <cstdint>

#include "kernels/views.h"
#include "tensor/matrix.h"

namespace cachalot::cpu {

// 32 activations of one row, rounded to int8: x = scale * q, scale = max|x| / 127. The sums serve formats
// whose codes are offset or have minimums: the sum of (code - offset) q is the sum of code q less offset
// times the sum of q.
struct alignas(16) Int8Group {
    std::int8_t q[32];
    float scale;
    std::int16_t pair_sums[2];  // of the q whose index mod 4 is 0 or 1, and 2 or 3
    float half_sums[2];         // scale times the sum of the first 16 q, and of the last 16
};

// What a product takes its activations as.
enum class Form : std::uint8_t { f32, bf16, int8 };

// Rows of activations, as float32 and (when not null) rounded to int8 or bfloat16. Group g of row r is q[g *
// q_rows + r]: what a product needs at a time lies together for all rows.
struct Activations {
    const float* x = nullptr;
    std::int64_t stride = 0;  // floats from row to row
    const Int8Group* q = nullptr;
    std::int64_t q_rows = 0;
    const std::uint16_t* b = nullptr;
    std::int64_t b_stride = 0;

    // Inlined, so that files for different instruction sets share no copy of it.
    [[gnu::always_inline]] Activations from_row(std::int64_t r) const {
        return {x + r * stride, stride, q ? q + r : nullptr, q_rows, b ? b + r * b_stride : nullptr,
                b_stride};
    }
};

// What is known of the codes that an integer sum is taken of, for instruction sets that can use it.
enum class Codes {
    narrow,  // 0..127, and at most 16 from the offset
    half,    // 0..127
    full,    // any byte; unsigned with offset 128, or signed (kSignedFull of the vector headers)
    scaled,  // 0..3, offset 0; each 16 columns have a factor of their own
};

struct Table {
    const char* name;

    // y[r * y_stride + n] = row n of w times activations r, for n in [first, last), r in [0, rows)
    void (*matmul)(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& x, int rows,
                   float* y, std::int64_t y_stride);
    // Rounds one row of n values; group g goes to q[g * q_rows].
    void (*quantize)(const float* x, std::int64_t n, Int8Group* q, std::int64_t q_rows);
    // The same to bfloat16; null where products of bfloat16 are not an instruction.
    void (*round_to_bf16)(const float* x, std::int64_t n, std::uint16_t* b);

    // x = weight * x / rms(x); weight null: ones
    void (*rms_norm)(float* x, const float* weight, float eps, int n);
    float (*sum_of_squares)(const float* x, std::int64_t n);

    // out[h * keys + i] = scale * q[h] . k[i]; q: [heads, n], k: [keys, n]
    void (*scores)(const float* q, int heads, const float* k, int keys, int n, float scale, float* out);
    // out[i] = sum over h of max(0, dots[h * stride + i]) * weights[h]
    void (*index_scores)(const float* dots, const float* weights, int heads, int keys, std::int64_t stride,
                         float* out);
    // acc[h] = acc[h] * rescale[h] + sum over i of p[h][i] * v[i]; acc: [heads, n], p: [heads, keys], v:
    // [keys, n]
    void (*accumulate)(float* acc, const float* rescale, const float* p, int heads, const float* v, int keys,
                       int n);
    // One step of the softmax that sees its scores a few at a time. p: [heads, keys], scores on entry,
    // e^(score - largest) on return; largest and sum are brought up to date, rescale is by how much what was
    // summed before shrinks.
    void (*softmax_step)(float* p, int heads, int keys, float* largest, float* sum, float* rescale);
    // out[i] = mean of values[r][i], weighted by softmax over r of scores[r][i]
    void (*pool)(const float* const* scores, const float* const* values, int rows, int n, float* out);

    // g = weight * silu(min(g, limit)) * clamp(u, -limit, limit)
    void (*swiglu)(float* g, const float* u, float weight, float limit, std::int64_t n);

    // The coefficients of a hyper-connection from rows of mixes [rows, 24] times inverse[row]: [pre | post |
    // comb], scale and base as in HyperConnectionWeights. pre, post: [rows, 4], comb: [rows, 16], by
    // Sinkhorn's iterations.
    void (*mix)(const float* mixes, const float* inverse, int rows, const float* scale, const float* base,
                int iterations, float eps, float* pre, float* post, float* comb);
    // out = sum over j of pre[j] * streams[j]; streams: [4, n]
    void (*collapse)(const float* pre, const float* streams, float* out, int n);
    // streams[k] = post[k] * out + sum over j of comb[j][k] * streams[j]
    void (*spread)(const float* out, const float* post, const float* comb, float* streams, int n);

    void (*decode_row)(const RowFormat& format, const std::byte* row, float* x);
    void (*add)(float* y, const float* x, std::int64_t n);
    // One stream of EngramParams: x += gate * value.
    void (*add_gated)(float* x, const float* key, const float* q, const float* k, const float* value,
                      float eps, std::int64_t n);

    // Loops that do nothing but multiply and add in registers; return the operations done (a product and a
    // sum: two).
    std::int64_t (*float_peak)(std::int64_t rounds);
    std::int64_t (*int8_peak)(std::int64_t rounds);
};

// Throws InternalError. Out of line, so that the kernel files contain no code but their own.
[[noreturn]] void unsupported_type(DType type);

// The table for `isa`, or null if this build or processor has none. "scalar" always exists.
const Table* scalar_table();
const Table* avx2_table();
const Table* avx2_vnni_table();
const Table* avx512_table();
const Table* avx512_vbmi_table();
const Table* avx512_bf16_table();
const Table* avx512_amx_table();
const Table* neon_table();
const Table* neon_dotprod_table();
const Table* neon_i8mm_table();

}  // namespace cachalot::cpu
