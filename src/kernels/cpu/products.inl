// Matrix products. Included by kernels.inl.
//
// The problem: decode multiplies every weight once and must keep up with memory; prefill multiplies it
// hundreds of times and must keep the multipliers busy. The choice: a strip of weights (formats.inl) is
// unpacked 32 columns at a time into registers, and all rows of activations pass by while it stays there.
// With one row nothing is stored between unpacking and multiplying; with many, unpacking is a small part.
//
// Each result is the same sequence of operations whatever the number of rows and whoever does them, so that a
// row gives the same bits alone and in a batch: the sum of a group of 32 columns is an integer and exact, and
// groups are added in order, add_group() being the only place where that happens.
//
//   integer  (strips.inl) the products of 32 columns are summed as integers and multiplied by both scales,
//            which is the group's term. How the integers come about can differ: by dot products, by tiles, or
//            along the rows (row_products.inl) for a single row of activations
//   exact    (strips.inl) the same strips as floats, 256 columns at a time, which stay in the first-level
//            cache; two chains of multiply-adds for each result
//   float    (float_products.inl) types that are floats already lie along vectors as in the file, four rows
//            at a time, and the lanes of a result are added at the end, those of kLanes results together. A
//            strip would read one of kLanes rows after the other a little at a time, which memory serves half
//            as fast where rows are a power of two apart.

constexpr int kRowBlock = 256;  // rows of activations whose sums are held at once

// The results of kLanes rows of weights, of which `lanes` exist.
inline void store_strip(F sum, float* y, std::int64_t lanes) {
    if (lanes >= kLanes) return store(y, sum);
    float all[kLanes];
    store(all, sum);
    std::copy_n(all, lanes, y);
}

// Calls part(activations, rows, y) for blocks of at most kBlock rows.
template <int kBlock, class Part>
void by_row_blocks(const Activations& a, int rows, float* y, std::int64_t y_stride, Part part) {
    for (int r = 0; r < rows; r += kBlock) part(a.from_row(r), std::min(kBlock, rows - r), y + r * y_stride);
}

#include "kernels/cpu/float_products.inl"
#include "kernels/cpu/strips.inl"
#if defined(CACHALOT_SIMD_HAS_ROWS)
#include "kernels/cpu/row_products.inl"
#endif

template <class Format>
void code_matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                 float* y, std::int64_t y_stride) {
    if (!a.q)
        return by_row_blocks<kRowBlock>(
            a, rows, y, y_stride, [&](const Activations& part, int count, float* to) {
                exact_rows<FromCodes<Format>>(w, first, last, part, count, to, y_stride);
            });
#if defined(CACHALOT_SIMD_HAS_ROWS)
    if constexpr (HasRow<Format>) first = integer_row<RowOf<Format>>(w, first, last, a, rows, y, y_stride);
    if (first == last) return;
#endif
    if (rows == 1)
        return integer_rows<Format>(w, first, last, a, std::integral_constant<int, 1>(), y, y_stride);
    by_row_blocks<kRowBlock>(a, rows, y, y_stride, [&](const Activations& part, int count, float* to) {
        integer_rows<Format>(w, first, last, part, count, to, y_stride);
    });
}

template <template <class> class HowPaired, int kBlock>
void fp8_matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                float* y, std::int64_t y_stride) {
#if defined(CACHALOT_SIMD_HAS_BF16)
    if (a.b) return float_matmul<HowPaired<E4m3Pairs<kBlock>>>(w, first, last, a, rows, y, y_stride);
#endif
    float_matmul<FromE4m3<kBlock>>(w, first, last, a, rows, y, y_stride);
}

// HowPaired<Pairs>: by what products of pairs of bfloat16 are computed, Pairs or ByHalves<Pairs>.
template <template <class> class HowPaired = std::type_identity_t>
void matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows, float* y,
            std::int64_t y_stride) {
    switch (w.dtype) {
        case DType::f32: return float_matmul<FromF32>(w, first, last, a, rows, y, y_stride);
        case DType::f16: return float_matmul<FromF16>(w, first, last, a, rows, y, y_stride);
        case DType::bf16:
#if defined(CACHALOT_SIMD_HAS_BF16)
            if (a.b) return float_matmul<HowPaired<Bf16Pairs>>(w, first, last, a, rows, y, y_stride);
#endif
            return float_matmul<FromBf16>(w, first, last, a, rows, y, y_stride);
        case DType::f8_e4m3:
            if (w.fp8_block == 32) return fp8_matmul<HowPaired, 32>(w, first, last, a, rows, y, y_stride);
            return fp8_matmul<HowPaired, 128>(w, first, last, a, rows, y, y_stride);
        case DType::mxfp4: return code_matmul<Mxfp4>(w, first, last, a, rows, y, y_stride);
        case DType::fp4_pairs: return code_matmul<Fp4Pairs>(w, first, last, a, rows, y, y_stride);
        case DType::q8_0: return code_matmul<Q8_0>(w, first, last, a, rows, y, y_stride);
        case DType::q4_k: return code_matmul<Q4k>(w, first, last, a, rows, y, y_stride);
        case DType::q2_k: return code_matmul<Q2k>(w, first, last, a, rows, y, y_stride);
        case DType::iq2_xxs: return code_matmul<Iq2xxs>(w, first, last, a, rows, y, y_stride);
        default: return float_matmul<Decoded>(w, first, last, a, rows, y, y_stride);
    }
}

void quantize(const float* x, std::int64_t n, Int8Group* q, std::int64_t q_rows) {
    for (std::int64_t k = 0; k < n; k += 32, q += q_rows) {
        F largest = broadcast(0);
        for (int i = 0; i < 32; i += kLanes) largest = maximum(largest, absolute(load(x + k + i)));
        float amax = std::min(reduce_max(largest), 1e30f);
        q->scale = amax / 127.0f;
        round_to_bytes(x + k, amax > 0 ? 127.0f / amax : 0.0f, q->q);
        std::int16_t sums[2][2];
        sum_bytes(q->q, sums);
        for (int i = 0; i < 2; ++i) {
            q->pair_sums[i] = static_cast<std::int16_t>(sums[0][i] + sums[1][i]);
            q->half_sums[i] = q->scale * static_cast<float>(sums[i][0] + sums[i][1]);
        }
    }
}
