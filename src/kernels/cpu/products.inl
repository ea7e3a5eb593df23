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
//   integer  the products of 32 columns are summed as integers and multiplied by both scales, which is the group's term. How the
//            integers come about can differ: integer_rows() by dot products, or by tiles; integer_row() for a single row
//   exact    the same strips as floats, 256 columns at a time, which stay in the first-level cache; two chains of
//            multiply-adds for each result
//   float    types that are floats already lie along vectors as in the file, four rows at a time, and the lanes of a
//            result are added at the end, those of kLanes results together. A strip would read one of kLanes rows after the other a little at a time,
//            which memory serves half as fast where rows are a power of two apart.

constexpr int kRowAhead = 8192;  // bytes
constexpr int kRowBlock = 256;   // rows of activations whose sums are held at once

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

// sum + the term of one group of 32 columns, whose integer sum is `dot`
template <class Format>
inline F add_group(F sum, F dot, const Header& h, int group, const Int8Group& x) {
    F term = dot * (load(h.scales[group]) * broadcast(x.scale));
    if constexpr (Format::kMinimums == 1)
        term = fma(load(h.minimums[group][0]), broadcast(x.half_sums[0] + x.half_sums[1]), term);
    if constexpr (Format::kMinimums == 2)
        for (int i = 0; i < 2; ++i) term = fma(load(h.minimums[group][i]), broadcast(x.half_sums[i]), term);
    return sum + term;
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

#if defined(CACHALOT_SIMD_HAS_ROWS)
// One row of activations, as in decode, where memory must not wait for arithmetic. kLanes rows of weights side by side, as
// above, are read at half of the memory's speed: a processor follows long runs, and a row of a matrix is soon at its end.
// So the terms of all groups of a row are computed along the row as it lies in the file, one row after the other, where
// neither codes nor scales need turning; then the terms, which are few, are turned and added up as above. The results are
// those of integer_rows(), bit for bit.
//
// What comes next is asked for well ahead and for the second-level cache only: asked for the first level, lines occupy the
// few places that the processor has for what its own loads miss. Two threads of a Zen 4 machine, share of the memory's
// speed: MXFP4 side by side 50 %, along the rows 65 to 70 %, asking 16 KiB ahead 75 to 80 % for the first level, 94 to 97 %
// for the second.
constexpr int kMostRowColumns = 16384;

// The activations without what lies between them, in the order in which the format has its columns.
template <class Row>
struct PackedRow {
    alignas(64) std::int8_t q[kMostRowColumns / kChunk * Row::kPacked];
    typename Row::Inputs x[kMostRowColumns / kChunk];

    PackedRow(const Activations& a, std::int64_t columns) {
        for (std::int64_t k = 0; k < columns; k += kChunk) {
            std::int8_t inputs[kChunk];
            for (int g = 0; g < kChunk / 32; ++g) {
                const Int8Group& from = a.q[(k / 32 + g) * a.q_rows];
                __builtin_memcpy(inputs + 32 * g, from.q, 32);
                for (int lane : {g, g + 8}) x[k / kChunk].template put<Row>(from, lane);
            }
            Row::pack(inputs, q + k / kChunk * Row::kPacked);
        }
    }
};

// w has a multiple of kChunk columns; first .. last are a multiple of kLanes rows.
template <class Row>
void integer_row(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, float* y) {
    if (first >= last) return;
    // Whole pairs of rows, so that it is also what will be used next but so much.
    const std::int64_t ahead = std::max<std::int64_t>(1, kRowAhead / (2 * w.stride)) * 2 * w.stride;
    for (std::int64_t b = 0; b < ahead; b += 64) __builtin_prefetch(w.row(first) + b, 0, 1);
    const PackedRow<Row> packed(a, w.columns);
    const std::int64_t chunks = w.columns / kChunk;
    alignas(64) float terms[kMostRowColumns / kChunk][kLanes / 2][2 * kChunk / 32];
    const std::byte *u = w.row(first), *v = w.row(first + 1);
    typename Row::Unpacked next = Row::unpack(u, v);
    for (std::int64_t n = first; n < last; n += kLanes) {
        for (int i = 0; i < kLanes / 2; ++i) {
            for (std::int64_t c = 0; c < chunks; ++c) {
                u += Row::kBytes, v += Row::kBytes;
                if (c + 1 == chunks) {
                    const std::int64_t row = std::min(n + 2 * i + 2, last - 2);
                    u = w.row(row), v = w.row(row + 1);
                }
                for (int b = 0; b < Row::kBytes; b += 64) {  // twice: requests that find no place are dropped
                    __builtin_prefetch(u + 2 * ahead + b, 0, 1);
                    __builtin_prefetch(v + 2 * ahead + b, 0, 1);
                    __builtin_prefetch(u + ahead + b, 0, 1);
                    __builtin_prefetch(v + ahead + b, 0, 1);
                }
                const typename Row::Unpacked now = next;
                next = Row::unpack(u, v);
                _mm512_store_ps(terms[c][i], Row::terms(now, packed.q + c * Row::kPacked, packed.x[c]));
            }
        }
        F sum = broadcast(0);
        for (std::int64_t c = 0; c < chunks; ++c) {
            F turned[kChunk / 32];
            turn_rows(terms[c], turned);
            for (const F& t : turned) sum = sum + t;
        }
        store(y + n, sum);
    }
}

template <class Format>
struct RowOf;
template <>
struct RowOf<Mxfp4> : Mxfp4Row {};
template <>
struct RowOf<Q8_0> : Q8_0Row {};
template <>
struct RowOf<Q4k> : Q4kRow {};
template <>
struct RowOf<Q2k> : Q2kRow {};
template <>
struct RowOf<Iq2xxs> : Iq2xxsRow {};
template <class Format>
concept HasRow = requires {
    RowOf<Format>::kBytes;
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

// Calls part(activations, rows, y) for blocks of at most kBlock rows.
template <int kBlock, class Part>
void by_row_blocks(const Activations& a, int rows, float* y, std::int64_t y_stride, Part part) {
    for (int r = 0; r < rows; r += kBlock) part(a.from_row(r), std::min(kBlock, rows - r), y + r * y_stride);
}

// Float products of many rows: activations would come from the second-level cache for every few rows of weights, which is
// not fast enough. So a block of weights is unpacked into the first level, and activations are used for all of it while
// they are there, too.
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

// Types that have no code of their own are decoded as tensor/convert.h defines them, which is slow but for many rows of
// activations.
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

// sums[j * sums_stride + i] = products of row i of weights and x[j], added to what is there unless `fresh`; weights(i, v)
// is vector v of row i.
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

// One row of activations: weights are used as they are read, and asked for ahead: the next rows where they are short, else
// what follows in the same ones.
template <class Format>
void float_row(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, float* y) {
    const std::int64_t together = kFloatRows * w.stride, step = Format::kStep * (w.stride / w.columns);
    const std::int64_t ahead =
        together <= kRowAhead ? kRowAhead / together * together : kRowAhead / kFloatRows;
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

template <class Format>
void code_matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows,
                 float* y, std::int64_t y_stride) {
    if (!a.q)
        return by_row_blocks<kRowBlock>(
            a, rows, y, y_stride, [&](const Activations& part, int count, float* to) {
                exact_rows<FromCodes<Format>>(w, first, last, part, count, to, y_stride);
            });
    if (rows == 1) {
#if defined(CACHALOT_SIMD_HAS_ROWS)
        if constexpr (HasRow<Format>)
            if (w.columns % kChunk == 0 && w.columns <= kMostRowColumns) {
                const std::int64_t whole = first + (last - first) / kLanes * kLanes;
                integer_row<RowOf<Format>>(w, first, whole, a, y);
                first = whole;
            }
#endif
        return integer_rows<Format>(w, first, last, a, std::integral_constant<int, 1>(), y, y_stride);
    }
    by_row_blocks<kRowBlock>(a, rows, y, y_stride, [&](const Activations& part, int count, float* to) {
        integer_rows<Format>(w, first, last, part, count, to, y_stride);
    });
}

void matmul(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a, int rows, float* y,
            std::int64_t y_stride) {
    switch (w.dtype) {
        case DType::f32: return float_matmul<FromF32>(w, first, last, a, rows, y, y_stride);
        case DType::f16: return float_matmul<FromF16>(w, first, last, a, rows, y, y_stride);
        case DType::bf16:
#if defined(CACHALOT_SIMD_HAS_BF16)
            if (a.b) return float_matmul<Bf16Pairs>(w, first, last, a, rows, y, y_stride);
#endif
            return float_matmul<FromBf16>(w, first, last, a, rows, y, y_stride);
        case DType::f8_e4m3:
#if defined(CACHALOT_SIMD_HAS_BF16)
            if (a.b) return float_matmul<E4m3Pairs>(w, first, last, a, rows, y, y_stride);
#endif
            return float_matmul<FromE4m3>(w, first, last, a, rows, y, y_stride);
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
