// Products of quantised weights with one row of activations, as in decode, where memory must not wait for
// arithmetic, or with a few, as where a draft is verified. Included by products.inl where there are structs
// that compute terms along rows (rows_avx512.inl).
//
// The problem: kLanes rows of weights side by side, as in strips.inl, are read at half of the memory's speed,
// since a processor follows long runs, and a row of a matrix is soon at its end. The choice: weights are read
// as they lie in the file, one row after the other, and terms of groups are computed along the row, where
// neither codes nor scales need turning; then the terms, which are few, are turned and added up. The results
// are those of integer_rows(), bit for bit.
//
// What comes next is asked for 4 KiB and once more 8 KiB ahead, not beyond the piece, and for the
// second-level cache only: asked for the first level, lines occupy the few places that the processor has for
// what its own loads miss. Requests that find no place are dropped, hence two, and each line that is left out
// costs as much as a miss. Two rows at a time (a step of each) were tried first, since then activations serve
// both, but two runs are followed worse than one. Share of what two threads of Zen 4 read at the same time,
// 32 GB/s, and where it is 57 GB/s:
//
//                          MXFP4 4096   MXFP4 2048   Q4_K         Q8_0 1024    4096         8192 columns
//     strips               50 %
//     two rows             94 %, 68 %   92 %, 70 %   90 %, 65 %   94 %, 87 %   93 %, 69 %   92 %, 82 %
//     one row              95 %, 72 %   95 %, 69 %   96 %, 73 %   98 %, 94 %   95 %, 76 %   96 %, 85 %
constexpr int kMostRowColumns = 16384;
constexpr int kRowAhead = 4096;  // bytes that are asked for before they are used

// The activations without what lies between them, in the order in which the format has its columns; again
// from the beginning where they are fewer than a step.
template <class Row>
struct PackedRow {
    alignas(64) std::int8_t q[kMostRowColumns];
    typename Row::Inputs x[kMostRowColumns / kRowStep];

    void pack(const Activations& a, std::int64_t columns) {
        std::int64_t group = 0;
        for (std::int64_t k = 0; k < columns; k += kRowStep) {
            std::int8_t inputs[kRowStep];
            for (int g = 0; g < kRowStep / 32; ++g) {
                const Int8Group& from = a.q[group * a.q_rows];
                if (++group == columns / 32) group = 0;
                __builtin_memcpy(inputs + 32 * g, from.q, 32);
                x[k / kRowStep].template put<Row>(from, g);
            }
            Row::pack(inputs, q + k);
        }
    }
};

// NX rows of activations. Each row of `w`, whose columns are a multiple of kRowStep, is kTogether rows of the
// weights, one after the other. first .. last are a multiple of kLanes. x: [NX]
template <class Row, int kTogether, int NX>
void integer_row(const Matrix& w, std::int64_t first, std::int64_t last, const PackedRow<Row>* x, float* y,
                 std::int64_t y_stride) {
    constexpr int kStepBytes = 2 * Row::kBytes;
    const std::int64_t steps = w.columns / kRowStep;
    alignas(64) float terms[NX][kMostRowColumns / kRowStep][kLanes][kRowStep / 32];
    const std::byte* at = w.row(first);
    const std::byte* const end = w.row(last) - kStepBytes;  // what follows is another thread's
    typename Row::Unpacked next = Row::unpack(at);
    for (std::int64_t n = first; n < last; n += kLanes) {
        for (int i = 0; i < kLanes; ++i) {
            for (std::int64_t c = 0; c < steps; ++c) {
                at += kStepBytes;
                if (c + 1 == steps) at = w.row(std::min(n + i + 1, last - 1));
                const std::byte *near = std::min(at + kRowAhead, end),
                                *far = std::min(at + 2 * kRowAhead, end);
                for (int b = 0; b < kStepBytes; b += 64) {
                    __builtin_prefetch(near + b, 0, 1);
                    __builtin_prefetch(far + b, 0, 1);
                }
                const typename Row::Unpacked now = next;
                next = Row::unpack(at);
                for (int j = 0; j < NX; ++j)
                    _mm512_store_ps(terms[j][c][i], Row::terms(now, x[j].q + c * kRowStep, x[j].x[c]));
            }
        }
        for (int j = 0; j < NX; ++j) {
            F sums[kTogether];
            for (F& sum : sums) sum = broadcast(0);
            for (std::int64_t c = 0; c < steps; ++c) {
                F turned[kRowStep / 32];
                turn_rows(terms[j][c], turned);
                for (int g = 0; g < kRowStep / 32; ++g) {
                    F& sum = sums[g * kTogether / (kRowStep / 32)];
                    sum = sum + turned[g];
                }
            }
            store_rows(sums, y + j * y_stride + n * kTogether);
        }
    }
}

// Computes what rows of [first, last) it can; returns the first that is left.
template <class Row, int NX>
std::int64_t integer_row(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a,
                         float* y, std::int64_t y_stride) {
    // Rows that are half a step lie side by side in pairs.
    const int together = w.columns == kChunk && w.stride == Row::kBytes && first % 2 == 0 ? 2 : 1;
    const Matrix wide = {w.dtype, w.rows / together, w.columns * together, w.data, w.stride * together};
    if (wide.columns % kRowStep != 0 || wide.columns > kMostRowColumns) return first;
    const std::int64_t begin = first / together, end = begin + (last - first) / together / kLanes * kLanes;
    if (begin == end) return first;
    for (std::int64_t b = 0; b < 2 * kRowAhead; b += 64) __builtin_prefetch(wide.row(begin) + b, 0, 1);
    PackedRow<Row> packed[NX];
    for (int j = 0; j < NX; ++j) packed[j].pack(a.from_row(j), w.columns);
    if (together == 2)
        integer_row<Row, 2, NX>(wide, begin, end, packed, y, y_stride);
    else
        integer_row<Row, 1, NX>(wide, begin, end, packed, y, y_stride);
    return end * together;
}

// The same for a number of rows that is known when it runs.
template <class Row>
std::int64_t integer_row(const Matrix& w, std::int64_t first, std::int64_t last, const Activations& a,
                         int rows, float* y, std::int64_t y_stride) {
    if (rows == 1) return integer_row<Row, 1>(w, first, last, a, y, y_stride);
    if (rows == 2) return integer_row<Row, 2>(w, first, last, a, y, y_stride);
    if constexpr (Row::kMostInputs >= 3)
        if (rows == 3) return integer_row<Row, 3>(w, first, last, a, y, y_stride);
    if constexpr (Row::kMostInputs >= 4)
        if (rows == 4) return integer_row<Row, 4>(w, first, last, a, y, y_stride);
    return first;
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
