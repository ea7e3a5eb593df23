// Matrix products. Included by kernels.inl.
//
// The problem: decode multiplies every weight once and must keep up with memory; prefill multiplies it hundreds of
// times and must keep the multipliers busy. The choice: a strip of weights (formats.inl) is unpacked 32 columns at a
// time into registers, and all rows of activations pass by while it stays there. With one row nothing is stored
// between unpacking and multiplying; with many, unpacking is a small part.
//
// Each result is the same sequence of operations whatever the number of rows and whoever does them, so that a row gives
// the same bits alone and in a batch: the sum of a group of 32 columns is an integer and exact, and groups are added in
// order, add_group() being the only place where that happens.
//
//   integer  the products of 32 columns are summed as integers, then one multiply-add with both scales. How the
//            integers come about can differ: integer_rows() by dot products, or by tiles; integer_row_turned() for a
//            single row
//   exact    the same strips as floats, 256 columns at a time, which stay in the first-level cache; two chains of
//            multiply-adds for each result
//   float    types that are floats already lie along vectors as in the file, four rows at a time, and the lanes of a
//            result are added at the end. A strip would read one of kLanes rows after the other a little at a time,
//            which memory serves half as fast where rows are a power of two apart.

constexpr int kRowBlock = 256;  // rows of activations whose sums are held at once

// Asks for the next strip of the item while this one is used: its bytes lie in one piece, and a strip takes about
// as long as memory needs to answer. A little at a time, since only so many requests can be under way. Float types
// do without: their rows are long enough for the processor to see where the reading goes.
//
// No branch depends on where the strip ends: a loop over as many lines as there are is mispredicted every few rounds.
// After the last strip the same lines are asked for again and again, which costs nothing.
template <int kBytes>  // of a strip, used between two calls of next()
class Ahead {
  public:
    Ahead(const Matrix& w, std::int64_t strip, std::int64_t last)
        : at_(w.row(std::min(strip, last - 1))), step_(strip < last ? kBytes : 0) {}
    void next() {
        for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(at_ + i);
        at_ += step_;
    }

  private:
    const std::byte* at_;
    std::int64_t step_;
};

void store_strip(F sum, float* y, std::int64_t lanes) {
    if (lanes >= kLanes) return store(y, sum);
    float all[kLanes];
    store(all, sum);
    std::copy_n(all, lanes, y);
}

// sum + one group of 32 columns, whose integer sum is `dot`
template <class Format>
inline F add_group(F sum, F dot, const Header& h, int group, const Int8Group& x) {
    sum = fma(dot, load(h.scales[group]) * broadcast(x.scale), sum);
    if constexpr (Format::kMinimums == 1)
        sum = fma(load(h.minimums[group][0]), broadcast(x.half_sums[0] + x.half_sums[1]), sum);
    if constexpr (Format::kMinimums == 2)
        for (int i = 0; i < 2; ++i) sum = fma(load(h.minimums[group][i]), broadcast(x.half_sums[i]), sum);
    return sum;
}

// The same for all rows.
template <class Format, class Count>
inline void add_group(const U* codes, const Header& h, int group, const Int8Group* x, Count rows, F* sums) {
    using Dot = Sum<Format::kCodes, Format::kOffset>;
    int r = 0;
    if constexpr (requires { typename Dot::OfTwo; }) {
        if (rows > 1) {
            const typename Dot::OfTwo of_two(codes);
            for (; r + 2 <= rows; r += 2) {
                F dots[2];
                of_two.values(x[r], x[r + 1], h.factors[group], dots);
                for (int i = 0; i < 2; ++i)
                    sums[r + i] = add_group<Format>(sums[r + i], dots[i], h, group, x[r + i]);
            }
        }
    }
    for (; r < rows; ++r) {
        Dot dot(x[r]);
#pragma GCC unroll 8  // instructions differ with i
        for (int i = 0; i < 8; ++i) {
            dot.add(codes[i], x[r].q, i);
            if constexpr (Format::kCodes == Codes::scaled)
                if (i % 4 == 3) dot.scale(h.factors[group][i / 4]);
        }
        sums[r] = add_group<Format>(sums[r], dot.value(), h, group, x[r]);
    }
}

#if defined(CACHALOT_SIMD_HAS_TILES)
// The same by tiles.
template <class Format>
inline void add_group(Tiles& tiles, const U* codes, const Header& h, int group, const Int8Group* x, int rows,
                      F* sums) {
    U dots[2][kTileRows];  // in turns: the next block is multiplied while this one is used
    tiles.take_codes(codes);
    tiles.multiply(x, 0, dots[0]);
    for (int first = 0; first < rows; first += kTileRows) {
        if (first + kTileRows < rows) tiles.multiply(x, first + kTileRows, dots[first / kTileRows % 2 ^ 1]);
        const U(&block)[kTileRows] = dots[first / kTileRows % 2];
        const int count = std::min(kTileRows, rows - first);
        for (int r = 0; r < count; ++r) {
            Sum<Format::kCodes, Format::kOffset> dot(x[first + r]);
            dot.add_sums(block[r]);
            sums[first + r] = add_group<Format>(sums[first + r], dot.value(), h, group, x[first + r]);
        }
    }
}

constexpr int kFewestTileRows = 32;  // fewer are not worth it
#endif

// Calls add(codes, header, group, x, sums) for every group of every strip. `rows` is an int or an integral_constant: a
// single row's sum stays in a register.
template <class Format, class Count, class Add>
inline void integer_rows(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a,
                         Count rows, float* y, std::int64_t y_stride, Add add) {
    auto columns_from = [&](std::int64_t k) {
        return static_cast<int>(std::min<std::int64_t>(kChunk, w.columns - k));
    };
    F sums[std::is_same_v<Count, int> ? kRowBlock : 1];
    for (std::int64_t n = first; n < last; n += kLanes) {
        Strip strip(w, n, last);
        Ahead<Format::kUnitBytes * kLanes> ahead(w, n + kLanes, last);
        for (int r = 0; r < rows; ++r) sums[r] = broadcast(0);
        // A header is unpacked one chunk ahead: where it is written in small pieces and read as vectors, that takes time.
        Header headers[2];
        Format::header(strip, 0, columns_from(0) / 32, headers[0]);
        for (std::int64_t k = 0; k < w.columns; k += kChunk) {
            const Header& header = headers[k / kChunk % 2];
            int columns = columns_from(k);
            if (k + kChunk < w.columns)
                Format::header(strip, k + kChunk, columns_from(k + kChunk) / 32,
                               headers[(k / kChunk + 1) % 2]);
            for (int c = 0; c < columns; c += Format::kUnit) {
                U codes[Format::kUnit / 4];
                Format::codes(strip, k + c, codes);
                ahead.next();
                for (int g = 0; g < Format::kUnit / 32; ++g)
                    add(codes + 8 * g, header, c / 32 + g, a.q + ((k + c) / 32 + g) * a.q_rows, sums);
            }
        }
        for (int r = 0; r < rows; ++r) store_strip(sums[r], y + r * y_stride + n, last - n);
    }
}

template <class Format, class Count>
void integer_rows(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, Count rows,
                  float* y, std::int64_t y_stride) {
#if defined(CACHALOT_SIMD_HAS_TILES)
    if constexpr (std::is_same_v<Count, int> && Format::kCodes != Codes::scaled)
        if (rows >= kFewestTileRows) {
            Tiles tiles(rows);
            return integer_rows<Format>(
                w, first, last, a, rows, y, y_stride,
                [&](const U* codes, const Header& h, int group, const Int8Group* x, F* sums) __attribute__((
                    always_inline)) { add_group<Format>(tiles, codes, h, group, x, rows, sums); });
        }
#endif
    integer_rows<Format>(
        w, first, last, a, rows, y, y_stride,
        [&](const U* codes, const Header& h, int group, const Int8Group* x, F* sums)
            __attribute__((always_inline)) { add_group<Format>(codes, h, group, x, rows, sums); });
}

#if defined(CACHALOT_SIMD_TURNS_SUMS)
// One row of activations, whose products need not wait for codes to be turned: they are summed along the rows of
// weights as these lie in the file, and the sums are turned, which are fewer. That is 40 % faster for Q8_0 in cache and
// a little for MXFP4; for Q4_K it is no gain and for Q2_K a loss. The results are those of integer_rows(), bit for bit.
// w has a multiple of Format::kTurn columns; first .. last are a multiple of kLanes rows.
template <class Format>
void integer_row_turned(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a,
                        float* y) {
    constexpr int kGroups = Format::kTurn / 32;
    for (std::int64_t n = first; n < last; n += kLanes) {
        const Strip strip(w, n, last);
        Ahead<Format::kUnitBytes * Format::kTurn / Format::kUnit * kLanes> ahead(w, n + kLanes, last);
        F sum = broadcast(0);
        for (std::int64_t k = 0; k < w.columns; k += kChunk) {
            const auto columns = static_cast<int>(std::min<std::int64_t>(kChunk, w.columns - k));
            Header header;
            Format::header(strip, k, columns / 32, header);
            for (int c = 0; c < columns; c += Format::kTurn) {
                const Int8Group* q = a.q + (k + c) / 32 * a.q_rows;
                U sums[kGroups];
                Format::sums(strip, k + c, q, a.q_rows, sums);
                ahead.next();
                for (int g = 0; g < kGroups; ++g) {
                    const Int8Group& x = q[g * a.q_rows];
                    Sum<Format::kCodes, Format::kOffset> dot(x);
                    dot.add_sums(sums[g]);
                    sum = add_group<Format>(sum, dot.value(), header, c / 32 + g, x);
                }
            }
        }
        store(y + n, sum);
    }
}

template <class Format>
concept TurnsSums = requires {
    Format::kTurn;
};
#endif

// sums[j] += weights * x[j] over one chunk, NX rows at a time.
template <int NX>
inline void add_chunk(const F* weights, const float* x, std::int64_t stride, int columns, F* sums) {
    F even[NX], odd[NX];
    for (int j = 0; j < NX; ++j) even[j] = odd[j] = broadcast(0);
    for (int c = 0; c < columns; c += 2)
        for (int j = 0; j < NX; ++j) {
            even[j] = fma(weights[c], broadcast(x[j * stride + c]), even[j]);
            odd[j] = fma(weights[c + 1], broadcast(x[j * stride + c + 1]), odd[j]);
        }
    for (int j = 0; j < NX; ++j) sums[j] = sums[j] + (even[j] + odd[j]);
}

template <class Format>
void exact_rows(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                float* y, std::int64_t y_stride) {
    F weights[kChunk], sums[kRowBlock];
    for (std::int64_t n = first; n < last; n += kLanes) {
        Strip strip(w, n, last);
        for (int r = 0; r < rows; ++r) sums[r] = broadcast(0);
        for (std::int64_t k = 0; k < w.columns; k += kChunk) {
            auto columns = static_cast<int>(std::min<std::int64_t>(kChunk, w.columns - k));
            Format::values(strip, k, columns, weights);
            const float* x = a.x + k;
            int r = 0;
            for (; r + 4 <= rows; r += 4)
                add_chunk<4>(weights, x + r * a.stride, a.stride, columns, sums + r);
            if (r + 2 <= rows) add_chunk<2>(weights, x + r * a.stride, a.stride, columns, sums + r), r += 2;
            if (r < rows) add_chunk<1>(weights, x + r * a.stride, a.stride, columns, sums + r);
        }
        for (int r = 0; r < rows; ++r) store_strip(sums[r], y + r * y_stride + n, last - n);
    }
}

// Calls part(activations, rows, y) for blocks of at most kRowBlock rows.
template <class Part>
void by_row_blocks(const Activations& a, int rows, float* y, std::int64_t y_stride, Part part) {
    for (int r = 0; r < rows; r += kRowBlock)
        part(a.from_row(r), std::min(kRowBlock, rows - r), y + r * y_stride);
}

// Float products of many rows: activations would come from the second-level cache for every few rows of weights, which is
// not fast enough. So a block of weights is unpacked into the first level, and activations are used for all of it while
// they are there, too.
constexpr int kFloatRows = 4;                              // rows of weights that are used together
constexpr int kFloatInputs = F::kRegisters >= 32 ? 6 : 3;  // rows of activations that are used together
constexpr int kFloatBlock = 8;                             // rows of weights in the first-level cache
constexpr int kFloatChunk = 512;                           // columns of them

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
    F vector(int i, std::int64_t k) const { return Format::vector(data_[i], scales_[i], k); }
    void vectors(int i, std::int64_t k, int count, F* out) const {
        for (int v = 0; v < count; ++v) out[v] = vector(i, k + v * kLanes);
    }

  private:
    const std::byte* data_[kRows];
    const std::uint8_t* scales_[kRows];
};

// Types that have no code of their own are decoded as tensor/convert.h defines them, which is slow but for many rows of
// activations.
struct Decoded {};

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

// sums[j * sums_stride + i] += weights[i] * x[j]; weights(i, v) is vector v of row i.
template <int NX, class Weights>
inline void add_vectors(Weights weights, const float* x, std::int64_t stride, std::int64_t vectors, F* sums,
                        int sums_stride) {
    F acc[NX][kFloatRows];
    for (int j = 0; j < NX; ++j)
        for (int i = 0; i < kFloatRows; ++i) acc[j][i] = sums[j * sums_stride + i];
    for (std::int64_t v = 0; v < vectors; ++v) {
        F values[NX];
        for (int j = 0; j < NX; ++j) values[j] = load(x + j * stride + v * kLanes);
        for (int i = 0; i < kFloatRows; ++i) {
            F w = weights(i, v);
            for (int j = 0; j < NX; ++j) acc[j][i] = fma(w, values[j], acc[j][i]);
        }
    }
    for (int j = 0; j < NX; ++j)
        for (int i = 0; i < kFloatRows; ++i) sums[j * sums_stride + i] = acc[j][i];
}

// One row of activations: weights are used as they are read.
template <class Format>
void float_row(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, float* y) {
    for (std::int64_t n = first; n < last; n += kFloatRows) {
        const FloatRows<Format, kFloatRows> from(w, n, last);
        F sums[kFloatRows];
        for (F& sum : sums) sum = broadcast(0);
        add_vectors<1>([&](int i, std::int64_t v) { return from.vector(i, v * kLanes); }, a.x, a.stride,
                       w.columns / kLanes, sums, kFloatRows);
        for (int i = 0; i < kFloatRows && n + i < last; ++i) y[n + i] = reduce_add(sums[i]);
    }
}

// The same sums for many rows.
template <class Format>
void float_rows(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                float* y, std::int64_t y_stride) {
    F sums[kRowBlock][kFloatBlock], unpacked[kFloatBlock][kFloatChunk / kLanes];
    for (std::int64_t n = first; n < last; n += kFloatBlock) {
        const auto block = static_cast<int>(std::min<std::int64_t>(kFloatBlock, last - n));
        const FloatRows<Format, kFloatBlock> from(w, n, last);
        for (int r = 0; r < rows; ++r)
            for (F& sum : sums[r]) sum = broadcast(0);
        for (std::int64_t k = 0; k < w.columns; k += kFloatChunk) {
            const auto vectors =
                static_cast<int>(std::min<std::int64_t>(kFloatChunk, w.columns - k)) / kLanes;
            for (int i = 0; i < kFloatBlock; ++i) from.vectors(i, k, vectors, unpacked[i]);
            int r = 0;
            auto add = [&]<int NX>(std::integral_constant<int, NX>) __attribute__((always_inline)) {
                for (; r + NX <= rows; r += NX)
                    for (int i = 0; i < block; i += kFloatRows)
                        add_vectors<NX>([&](int j, std::int64_t v) { return unpacked[i + j][v]; },
                                        a.x + r * a.stride + k, a.stride, vectors, sums[r] + i, kFloatBlock);
            };
            add(std::integral_constant<int, kFloatInputs>());
            add(std::integral_constant<int, 3>());
            add(std::integral_constant<int, 1>());
        }
        for (int r = 0; r < rows; ++r)
            for (int i = 0; i < block; ++i) y[r * y_stride + n + i] = reduce_add(sums[r][i]);
    }
}

template <class Format>
void float_matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                  float* y, std::int64_t y_stride) {
    if constexpr (!std::is_same_v<Format, Decoded>)
        if (rows == 1) return float_row<Format>(w, first, last, a, y);
    by_row_blocks(a, rows, y, y_stride, [&](const Activations& part, int count, float* to) {
        float_rows<Format>(w, first, last, part, count, to, y_stride);
    });
}

template <class Format>
void code_matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                 float* y, std::int64_t y_stride) {
    if (!a.q)
        return by_row_blocks(a, rows, y, y_stride, [&](const Activations& part, int count, float* to) {
            exact_rows<FromCodes<Format>>(w, first, last, part, count, to, y_stride);
        });
    if (rows == 1) {
#if defined(CACHALOT_SIMD_TURNS_SUMS)
        if constexpr (TurnsSums<Format>)
            if (w.columns % Format::kTurn == 0) {
                const std::int64_t whole = first + (last - first) / kLanes * kLanes;
                integer_row_turned<Format>(w, first, whole, a, y);
                first = whole;
            }
#endif
        return integer_rows<Format>(w, first, last, a, std::integral_constant<int, 1>(), y, y_stride);
    }
    by_row_blocks(a, rows, y, y_stride, [&](const Activations& part, int count, float* to) {
        integer_rows<Format>(w, first, last, part, count, to, y_stride);
    });
}

void matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows, float* y,
            std::int64_t y_stride) {
    switch (w.dtype) {
        case DType::f32: return float_matmul<FromF32>(w, first, last, a, rows, y, y_stride);
        case DType::f16: return float_matmul<FromF16>(w, first, last, a, rows, y, y_stride);
        case DType::bf16: return float_matmul<FromBf16>(w, first, last, a, rows, y, y_stride);
        case DType::f8_e4m3: return float_matmul<FromE4m3>(w, first, last, a, rows, y, y_stride);
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
