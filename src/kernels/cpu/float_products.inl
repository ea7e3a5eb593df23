// Products of weights that are floats. Included by products.inl.
//
// The problem with many rows: activations would come from the second-level cache for every few rows of
// weights, which is not fast enough. So a block of weights is unpacked into the first level, and activations
// are used for all of it while they are there, too.
//
// A few rows of activations, as of a draft that is verified, take weights as they are read, several rows of
// weights with all rows of activations.
constexpr int kFloatRows = 4;                              // rows of weights that are used together
constexpr int kFloatInputs = F::kRegisters >= 32 ? 6 : 3;  // rows of activations that are used together
constexpr int kFloatBlock = std::max(8, kLanes);           // rows of weights in the first-level cache
constexpr int kFloatChunk = 512;                           // columns of them
constexpr int kFewFloatChunk = 1024;                       // the same where there are few rows of activations
constexpr int kFewFloatRows = 8;                           // rows of activations that are few
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

// Activations as a format wants them: x(r, v) is vector v of row r, counted from the columns that take()
// names.
template <class Format>
class FloatInputs {
  public:
    static constexpr int kTogether = kFloatInputs;
    FloatInputs(const Activations& a, int /*rows*/, std::int64_t /*columns*/)
        : a_(a), at_(Format::inputs(a)) {}
    void take(std::int64_t k, int /*vectors*/) { at_ = Format::inputs(a_) + k; }
    auto operator()(int r, std::int64_t v) const {
        return load(at_ + r * Format::stride(a_) + v * Format::kStep);
    }

  private:
    const Activations& a_;
    decltype(Format::inputs({})) at_;
};

#if defined(CACHALOT_SIMD_HAS_HALVES)
// Taken apart once for all rows of weights, or, where they are too many, for each block of these.
template <class Pairs>
class FloatInputs<ByHalves<Pairs>> {
  public:
    static constexpr int kTogether = 4;
    FloatInputs(const Activations& a, int rows, std::int64_t columns)
        : a_(a), rows_(rows), all_(static_cast<int>(columns / Halves::kWidth)) {
        if (rows * all_ <= kMost) split(0, all_);
    }
    void take(std::int64_t k, int vectors) {
        if (rows_ * all_ > kMost)
            split(k, vectors);
        else
            at_ = k / Halves::kWidth;
    }
    const Halves& operator()(int r, std::int64_t v) const { return x_[at_ + r * apart_ + v]; }

  private:
    static constexpr int kMost = kFloatRowBlock * kFloatChunk / Halves::kWidth;
    static_assert(kMost >= kFewFloatRows * kFewFloatChunk / Halves::kWidth);
    void split(std::int64_t k, int vectors) {
        apart_ = vectors;
        for (int r = 0; r < rows_; ++r)
            for (int v = 0; v < vectors; ++v)
                x_[r * vectors + v] = halves(load(a_.b + r * a_.b_stride + k + v * Halves::kWidth));
    }

    const Activations& a_;
    const int rows_, all_;
    std::int64_t at_ = 0;
    int apart_ = 0;
    Halves x_[kMost];
};
#endif

// Calls body(constant) for 0 .. kCount - 1. Compilers keep arrays in registers whose places are constants
// from the beginning; of loops that are unrolled later they do not.
template <int kCount, class Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
    [&]<int... kAll>(std::integer_sequence<int, kAll...>) __attribute__((always_inline)) {
        (body(std::integral_constant<int, kAll>()), ...);
    }
    (std::make_integer_sequence<int, kCount>());
}

// sums[j][i] = products of row i of weights and x(j, .), added to what is there unless `fresh`; weights(i, v)
// is vector v of row i.
template <int NX, class Weights, class X>
inline void add_vectors(const Weights& weights, const X& x, std::int64_t vectors, bool fresh, F* sums) {
    constexpr int kSums = NX * kFloatRows;
    F acc[kSums];  // [kFloatRows][NX]
    const auto place = [&](int s) { return sums + s % NX * kFloatBlock + s / NX; };
    if (fresh)
        unrolled<kSums>([&](auto s) __attribute__((always_inline)) { acc[s] = broadcast(0); });
    else
        unrolled<kSums>([&](auto s) __attribute__((always_inline)) { acc[s] = *place(s); });
    for (std::int64_t v = 0; v < vectors; ++v) {
        std::remove_cvref_t<decltype(x(0, v))> values[NX];
        unrolled<NX>([&](auto j) __attribute__((always_inline)) { values[j] = x(j, v); });
        unrolled<kFloatRows>([&](auto i) __attribute__((always_inline)) {
            const auto w = weights(i, v);
            unrolled<NX>([&](auto j) __attribute__((always_inline)) {
                acc[i * NX + j] = fma(w, values[j], acc[i * NX + j]);
            });
        });
    }
    unrolled<kSums>([&](auto s) __attribute__((always_inline)) { *place(s) = acc[s]; });
}

// Calls part(constant, r) for groups of at most kMost of the rows, which are about equally large.
template <int kMost, class Part>
[[gnu::always_inline]] inline void in_groups(int rows, const Part& part) {
    for (int r = 0, groups = (rows + kMost - 1) / kMost; groups > 0; --groups) {
        const int count = (rows - r + groups - 1) / groups;
        unrolled<kMost>([&](auto fewer) __attribute__((always_inline)) {
            if (count == fewer + 1) part(std::integral_constant<int, fewer + 1>(), r);
        });
        r += count;
    }
}

// The same sums for rows of activations and `block` <= kFloatBlock rows of weights; sums:
// [rows][kFloatBlock]. `together` rows of weights meet all rows of activations before the next ones. Not
// inlined, so that nothing else is computed by Format's rules for denormals.
template <class Format, class Weights>
[[gnu::noinline]] void add_block(const Weights& weights, const FloatInputs<Format>& x, int rows, int block,
                                 int together, int vectors, bool fresh, F* sums) {
    [[maybe_unused]] const typename Format::Rules rules;
    for (int begin = 0; begin < block; begin += together)
        in_groups<FloatInputs<Format>::kTogether>(
            rows, [&]<int NX>(std::integral_constant<int, NX>, int r) __attribute__((always_inline)) {
                for (int i = begin; i < std::min(begin + together, block); i += kFloatRows)
                    add_vectors<NX>([&](int j, std::int64_t v) { return weights(i + j, v); },
                                    [&](int j, std::int64_t v) { return x(r + j, v); }, vectors, fresh,
                                    sums + r * kFloatBlock + i);
            });
}

// The results of kFloatBlock rows of weights, of which `count` exist.
inline void store_block(const F* sums, float* y, std::int64_t count) {
    for (int i = 0; i < kFloatBlock && i < count; i += kLanes)
        store_strip(reduce_add_each(sums + i), y + i, count - i);
}

// What is asked for ahead of row i of weights where each is used as it is read: the next rows where they are
// short, else what follows in the same ones.
template <class Format>
class FloatAhead {
  public:
    explicit FloatAhead(const Matrix& w) : step_(Format::kStep * (w.stride / w.columns)) {
        constexpr int kAhead = 8192;  // bytes
        const std::int64_t together = kFloatRows * w.stride;
        ahead_ = together <= kAhead ? kAhead / together * together : kAhead / kFloatRows;
    }
    void operator()(const std::byte* row, std::int64_t v) const {
        __builtin_prefetch(row + v * step_ + 2 * ahead_, 0, 1);
        __builtin_prefetch(row + v * step_ + ahead_, 0, 1);
    }

  private:
    std::int64_t step_, ahead_;  // bytes
};

// One row of activations.
template <class Format>
void float_row(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, float* y) {
    const FloatAhead<Format> ahead(w);
    const FloatInputs<Format> x(a, 1, w.columns);
    for (std::int64_t n = first; n < last; n += kFloatBlock) {
        F sums[kFloatBlock];
        for (int i = 0; i < kFloatBlock; i += kFloatRows) {
            const FloatRows<Format, kFloatRows> from(w, std::min(n + i, last - 1), last);
            auto weights = [&](int r, std::int64_t v) {
                ahead(from.row(r), v);
                return from.vector(r, v * Format::kStep);
            };
            add_vectors<1>(weights, x, w.columns / Format::kStep, true, sums + i);
        }
        store_block(sums, y + n, last - n);
    }
}

// Several rows. Weights that are used once or twice are not stored in between.
template <class Format, bool kFew>
void float_rows(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                float* y, std::int64_t y_stride) {
    constexpr int kStep = Format::kStep, kChunkColumns = kFew ? kFewFloatChunk : kFloatChunk;
    F sums[(kFew ? kFewFloatRows : kFloatRowBlock) * kFloatBlock];
    FloatInputs<Format> x(a, rows, w.columns);
    for (std::int64_t n = first; n < last; n += kFloatBlock) {
        const auto block = static_cast<int>(std::min<std::int64_t>(kFloatBlock, last - n));
        const FloatRows<Format, kFloatBlock> from(w, n, last);
        for (std::int64_t k = 0; k < w.columns; k += kChunkColumns) {
            const auto vectors =
                static_cast<int>(std::min<std::int64_t>(kChunkColumns, w.columns - k)) / kStep;
            x.take(k, vectors);
            if constexpr (kFew) {
                const FloatAhead<Format> ahead(w);
                auto weights = [&](int i, std::int64_t v) {
                    ahead(from.row(i), v + k / kStep);
                    return from.vector(i, k + v * kStep);
                };
                add_block<Format>(weights, x, rows, block, kFloatRows, vectors, k == 0, sums);
            } else {
                typename Format::Vector unpacked[kFloatBlock][kFloatChunk / kStep];
                for (int i = 0; i < kFloatBlock; ++i) from.vectors(i, k, vectors, unpacked[i]);
                auto weights = [&](int i, std::int64_t v) { return unpacked[i][v]; };
                add_block<Format>(weights, x, rows, block, kFloatBlock, vectors, k == 0, sums);
            }
        }
        for (int r = 0; r < rows; ++r) store_block(sums + r * kFloatBlock, y + r * y_stride + n, last - n);
    }
}

template <class Format>
void float_matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                  float* y, std::int64_t y_stride) {
    if constexpr (!std::is_same_v<Format, Decoded>) {
        if (rows == 1) return float_row<typename OfOneRow<Format>::Type>(w, first, last, a, y);
        constexpr int kFew = Format::kSimple ? kFewFloatRows : FloatInputs<Format>::kTogether;
        if (rows <= kFew) return float_rows<Format, true>(w, first, last, a, rows, y, y_stride);
    }
    by_row_blocks<kFloatRowBlock>(a, rows, y, y_stride, [&](const Activations& part, int count, float* to) {
        float_rows<Format, false>(w, first, last, part, count, to, y_stride);
    });
}
