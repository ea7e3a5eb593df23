#include "kernels/cpu/division.h"

#include <algorithm>

namespace cachalot::cpu {
namespace {

constexpr std::int64_t kFewRows = 4;

std::int64_t round_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }
// What pieces are multiples of: what follows a product in its piece takes 32 rows at a time where it can.
std::int64_t unit_of(const Matrix& w, std::int64_t otherwise) { return w.rows % 32 ? otherwise : 32; }

std::vector<Piece> divide_by_bytes(std::span<const Product> products, int threads) {
    constexpr std::int64_t kShortest = 64 << 10, kShortEnough = 512 << 10, kLongest = 8 << 20;
    auto unit = [](const Matrix& w) { return unit_of(w, 4); };
    auto bytes_of = [](const Product& p) { return p.weights->rows * p.weights->stride; };
    std::int64_t bytes = 0;
    for (const Product& p : products) bytes += bytes_of(p);
    auto piece = [&](std::size_t product, std::int64_t first, std::int64_t last) {
        return Piece{product, first, last, 0, static_cast<int>(products[product].rows)};
    };
    const std::int64_t shortest = std::min(bytes / (24 * threads), kShortEnough);
    std::vector<Piece> pieces;
    if (shortest < kShortest) {  // not worth its start: one or two equal pieces for each thread
        const std::int64_t turns = shortest < kShortest / 2 ? 1 : 2;
        for (std::size_t i = 0; i < products.size(); ++i) {
            const Matrix& w = *products[i].weights;
            const std::int64_t count =
                std::max<std::int64_t>(1, turns * threads * bytes_of(products[i]) / bytes);
            const std::int64_t rows = round_up((w.rows + count - 1) / count, unit(w));
            for (std::int64_t n = 0; n < w.rows; n += rows)
                pieces.push_back(piece(i, n, std::min(n + rows, w.rows)));
        }
        return pieces;
    }
    // What is left is from row `first` of product i to row `last` of product j.
    std::size_t i = 0, j = products.size() - 1;
    std::int64_t first = 0, last = products[j].weights->rows, left = bytes;
    auto rows_of = [&](const Matrix& w) {
        const std::int64_t run = std::clamp(left / (2 * threads), shortest, kLongest);
        return std::max<std::int64_t>(run / w.stride / unit(w), 1) * unit(w);
    };
    auto taken = [&](const Piece& p) {
        left -= (p.last - p.first) * products[p.product].weights->stride;
        return p;
    };
    std::vector<Piece> from_back;
    while (left > 0) {
        const Matrix& w = *products[i].weights;
        const std::int64_t end = i == j ? last : w.rows;
        pieces.push_back(taken(piece(i, first, std::min(first + rows_of(w), end))));
        first = pieces.back().last;
        if (first == end && i < j) ++i, first = 0;
        if (left == 0) break;
        const Matrix& v = *products[j].weights;
        const std::int64_t begin = i == j ? first : 0;
        from_back.push_back(taken(piece(j, std::max(begin, round_up(last - rows_of(v), unit(v))), last)));
        last = from_back.back().first;
        if (last == begin && i < j) --j, last = products[j].weights->rows;
    }
    pieces.insert(pieces.end(), from_back.rbegin(), from_back.rend());
    return pieces;
}

void divide_by_blocks(std::size_t product, const Product& p, std::int64_t turns, std::vector<Piece>& pieces) {
    constexpr std::int64_t kMostWeights = 128, kFewWeights = 64, kMostRows = 256, kLeastRows = 16;
    auto parts = [](std::int64_t whole, std::int64_t part) { return (whole + part - 1) / part; };
    const std::int64_t outputs = p.weights->rows;
    // A few weights are not divided where there are rows enough: each block would read all activations again.
    const bool whole = outputs <= kFewWeights && p.rows >= turns * kLeastRows;
    const std::int64_t weights =
        whole ? outputs : std::min(kMostWeights, round_up(parts(outputs, turns), unit_of(*p.weights, 8)));
    const std::int64_t rows =
        std::clamp(parts(p.rows, parts(turns, parts(outputs, weights))), kLeastRows, kMostRows);
    for (std::int64_t n = 0; n < outputs; n += weights)
        for (std::int64_t r = 0; r < p.rows; r += rows)
            pieces.push_back({product, n, std::min(n + weights, outputs), r,
                              static_cast<int>(std::min(rows, p.rows - r))});
}

}  // namespace

std::vector<Piece> divide(std::span<const Product> products, int threads) {
    std::int64_t most = 0;
    for (const Product& p : products) most = std::max(most, p.rows);
    if (most <= kFewRows) return divide_by_bytes(products, threads);
    std::vector<Piece> pieces;
    const auto count = static_cast<std::int64_t>(products.size());
    const std::int64_t turns = (8 * threads + count - 1) / count;  // several for each thread, to balance
    for (std::size_t i = 0; i < products.size(); ++i) divide_by_blocks(i, products[i], turns, pieces);
    return pieces;
}

}  // namespace cachalot::cpu
