// Products of quantised weights with one row of activations, as in decode, where memory must not wait for arithmetic. Included
// by products.inl where there are structs that compute terms along rows (rows_avx512.inl).
//
// The problem: kLanes rows of weights side by side, as in strips.inl, are read at half of the memory's speed, since a processor
// follows long runs, and a row of a matrix is soon at its end. The choice: the terms of all groups of a row are computed along
// the row as it lies in the file, two rows at a time, where neither codes nor scales need turning; then the terms, which are
// few, are turned and added up. The results are those of integer_rows(), bit for bit.
//
// What comes next is asked for by whole pairs of rows, about 8 KiB and 16 KiB ahead, and for the second-level cache only: asked
// for the first level, lines occupy the few places that the processor has for what its own loads miss. Requests that find
// no place are dropped, hence two. Share of 34 GB/s that two threads of Zen 4 read so of MXFP4 and Q8_0 of 4,096 columns:
//
//     strips 50 %, along the rows 65 to 70 %, asked for once, 16 KiB ahead, for the first level 75 to 80 %, for the second 87 to
//     95 %, 8 KiB ahead 89 to 96 %, twice 98 to 101 %
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
