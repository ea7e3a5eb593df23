// Products of weights that are floats. Included by products.inl.
//
// The problem with many rows: activations would come from the second-level cache for every few rows of
// weights, which is not fast enough. So a block of weights is unpacked into the first level, and activations
// are used for all of it while they are there, too.
constexpr int kFloatRows = 4;                              // rows of weights that are used together
constexpr int kFloatInputs = F::kRegisters >= 32 ? 6 : 3;  // rows of activations that are used together
constexpr int kFloatBlock = std::max(8, kLanes);           // rows of weights in the first-level cache
constexpr int kFloatChunk = 512;                           // columns of them
constexpr int kFloatRowBlock = 64;                         // rows of activations whose sums are held at once

// kRows rows of weights; where the matrix ends, the last row repeats.
template <class Format, int kRows>
class FloatRows {
  public:
    FloatRows(const Matrix& w, std::int64_t first, std::int64_t last) {
        for (int i = 0; i < kRows; ++i) {
            const std::int64_t row = std::min(first + i, last - 1);
            data_[i] = w.row(row);
            scales_[i] = w.scales ? w.row_scales(row) : nullptr;
        }
    }
    const std::byte* row(int i) const { return data_[i]; }
    auto vector(int i, std::int64_t k) const { return Format::vector(data_[i], scales_[i], k); }
    void vectors(int i, std::int64_t k, int count, typename Format::Vector* out) const {
        for (int v = 0; v < count; ++v) out[v] = vector(i, k + v * Format::kStep);
    }

  private:
    const std::byte* data_[kRows];
    const std::uint8_t* scales_[kRows];
};

// Types that have no code of their own are decoded as tensor/convert.h defines them, which is slow but for
// many rows of activations.
struct Decoded : FloatType {};

template <int kRows>
class FloatRows<Decoded, kRows> {
  public:
    FloatRows(const Matrix& w, std::int64_t first, std::int64_t last)
        : decode_(cachalot::block_decoder(w.dtype)),
          elements_(cachalot::info(w.dtype).elements),
          bytes_(cachalot::info(w.dtype).bytes) {
        if (!decode_) cachalot::cpu::unsupported_type(w.dtype);
        for (int i = 0; i < kRows; ++i) data_[i] = w.row(std::min(first + i, last - 1));
    }
    void vectors(int i, std::int64_t k, int count, F* out) const {
        float values[kFloatChunk];
        for (int c = 0; c < count * kLanes; c += elements_)
            decode_(data_[i] + (k + c) / elements_ * bytes_, values + c);
        for (int v = 0; v < count; ++v) out[v] = load(values + v * kLanes);
    }

  private:
    cachalot::BlockDecoder decode_;
    int elements_, bytes_;
    const std::byte* data_[kRows];
};

// sums[j * sums_stride + i] = products of row i of weights and x[j], added to what is there unless `fresh`;
// weights(i, v) is vector v of row i.
template <class Format, int NX, class Weights, class X>
inline void add_vectors(Weights weights, const X* x, std::int64_t stride, std::int64_t vectors, bool fresh,
                        F* sums, int sums_stride) {
    F acc[NX][kFloatRows];
    for (int j = 0; j < NX; ++j)
        for (int i = 0; i < kFloatRows; ++i) acc[j][i] = fresh ? broadcast(0) : sums[j * sums_stride + i];
    for (std::int64_t v = 0; v < vectors; ++v) {
        typename Format::Vector values[NX];
        for (int j = 0; j < NX; ++j) values[j] = load(x + j * stride + v * Format::kStep);
        for (int i = 0; i < kFloatRows; ++i) {
            const auto w = weights(i, v);
            for (int j = 0; j < NX; ++j) acc[j][i] = fma(w, values[j], acc[j][i]);
        }
    }
    for (int j = 0; j < NX; ++j)
        for (int i = 0; i < kFloatRows; ++i) sums[j * sums_stride + i] = acc[j][i];
}

// The results of kFloatBlock rows of weights, of which `count` exist.
inline void store_block(const F* sums, float* y, std::int64_t count) {
    for (int i = 0; i < kFloatBlock && i < count; i += kLanes)
        store_strip(reduce_add_each(sums + i), y + i, count - i);
}

// One row of activations: weights are used as they are read, and asked for ahead: the next rows where they
// are short, else what follows in the same ones.
template <class Format>
void float_row(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, float* y) {
    const std::int64_t together = kFloatRows * w.stride, step = Format::kStep * (w.stride / w.columns);
    constexpr int kAhead = 8192;  // bytes
    const std::int64_t ahead = together <= kAhead ? kAhead / together * together : kAhead / kFloatRows;
    for (std::int64_t n = first; n < last; n += kFloatBlock) {
        F sums[kFloatBlock];
        for (int i = 0; i < kFloatBlock; i += kFloatRows) {
            const FloatRows<Format, kFloatRows> from(w, std::min(n + i, last - 1), last);
            auto weights = [&](int r, std::int64_t v) {
                __builtin_prefetch(from.row(r) + v * step + 2 * ahead, 0, 1);
                __builtin_prefetch(from.row(r) + v * step + ahead, 0, 1);
                return from.vector(r, v * Format::kStep);
            };
            add_vectors<Format, 1>(weights, Format::inputs(a), 0, w.columns / Format::kStep, true, sums + i,
                                   kFloatBlock);
        }
        store_block(sums, y + n, last - n);
    }
}

// The same sums for many rows.
template <class Format>
void float_rows(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                float* y, std::int64_t y_stride) {
    constexpr int kStep = Format::kStep;
    typename Format::Vector unpacked[kFloatBlock][kFloatChunk / kStep];
    F sums[kFloatRowBlock][kFloatBlock];
    const std::int64_t stride = Format::stride(a);
    for (std::int64_t n = first; n < last; n += kFloatBlock) {
        const auto block = static_cast<int>(std::min<std::int64_t>(kFloatBlock, last - n));
        const FloatRows<Format, kFloatBlock> from(w, n, last);
        for (std::int64_t k = 0; k < w.columns; k += kFloatChunk) {
            const auto vectors = static_cast<int>(std::min<std::int64_t>(kFloatChunk, w.columns - k)) / kStep;
            for (int i = 0; i < kFloatBlock; ++i) from.vectors(i, k, vectors, unpacked[i]);
            int r = 0;
            auto add = [&]<int NX>(std::integral_constant<int, NX>) __attribute__((always_inline)) {
                for (; r + NX <= rows; r += NX) {
                    for (int i = 0; i < block; i += kFloatRows)
                        add_vectors<Format, NX>([&](int j, std::int64_t v) { return unpacked[i + j][v]; },
                                                Format::inputs(a) + r * stride + k, stride, vectors, k == 0,
                                                sums[r] + i, kFloatBlock);
                    if (k + kFloatChunk < w.columns) continue;
                    for (int j = 0; j < NX; ++j)
                        store_block(sums[r + j], y + (r + j) * y_stride + n, last - n);
                }
            };
            add(std::integral_constant<int, kFloatInputs>());
            add(std::integral_constant<int, 3>());
            add(std::integral_constant<int, 1>());
        }
    }
}

template <class Format>
void float_matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                  float* y, std::int64_t y_stride) {
    if constexpr (!std::is_same_v<Format, Decoded>)
        if (rows == 1) return float_row<Format>(w, first, last, a, y);
    by_row_blocks<kFloatRowBlock>(a, rows, y, y_stride, [&](const Activations& part, int count, float* to) {
        float_rows<Format>(w, first, last, part, count, to, y_stride);
    });
}
