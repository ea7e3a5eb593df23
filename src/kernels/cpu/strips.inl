// Products of quantised weights with any number of rows of activations, a strip of kLanes rows of weights at
// a time. Included by products.inl, which says what for.

// Asks for the next strip of the piece while this one is used: its bytes lie in one piece, and a strip takes
// about as long as memory needs to answer. A little at a time, since only so many requests can be under way.
// For the second-level cache where memory is the limit, with few rows of activations: requests for the first
// level hold up loads there.
//
// No branch depends on where the strip ends: a loop over as many lines as there are is mispredicted every few
// rounds. After the last strip the same lines are asked for again and again, which costs nothing.
template <int kBytes>  // of a strip, used between two calls of next()
class Ahead {
  public:
    Ahead(const Matrix& w, std::int64_t strip, std::int64_t last, int rows)
        : at_(w.row(std::min(strip, last - 1))), step_(strip < last ? kBytes : 0), few_(rows <= 16) {}
    void next() {
        if (few_)
            for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(at_ + i, 0, 1);
        else
            for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(at_ + i);
        at_ += step_;
    }

  private:
    const std::byte* at_;
    std::int64_t step_;
    bool few_;
};

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

// Calls add(codes, header, group, x, sums) for every group of every strip. `rows` is an int or an
// integral_constant: a single row's sum stays in a register.
template <class Format, class Count, class Add>
inline void integer_rows(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a,
                         Count rows, float* y, std::int64_t y_stride, Add add) {
    auto columns_from = [&](std::int64_t k) {
        return static_cast<int>(std::min<std::int64_t>(kChunk, w.columns - k));
    };
    F sums[std::is_same_v<Count, int> ? kRowBlock : 1];
    for (std::int64_t n = first; n < last; n += kLanes) {
        Strip strip(w, n, last);
        Ahead<Format::kUnitBytes * kLanes> ahead(w, n + kLanes, last, rows);
        for (int r = 0; r < rows; ++r) sums[r] = broadcast(0);
        // A header is unpacked one chunk ahead: where it is written in small pieces and read as vectors, that
        // takes time.
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
