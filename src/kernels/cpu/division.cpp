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
    std::int64_t left = bytes;
    std::vector<Piece> pieces;
    // Cuts a matrix into pieces of as many rows as rows() tells for the next one.
    auto cut = [&](std::size_t product, const auto& rows) {
        const auto& [w, inputs] = products[product];
        for (std::int64_t first = 0, last; first < w->rows; first = last) {
            last = std::min(first + round_up(std::max<std::int64_t>(rows(), 1), unit(*w)), w->rows);
            pieces.push_back({product, first, last, 0, static_cast<int>(inputs)});
            left -= (last - first) * w->stride;
        }
    };
    const std::int64_t shortest = std::min(bytes / (24 * threads), kShortEnough);
    for (std::size_t i = 0; i < products.size(); ++i) {
        const Matrix& w = *products[i].weights;
        if (shortest < kShortest) {  // not worth its start: one or two equal pieces for each thread
            const std::int64_t turns = shortest < kShortest / 2 ? 1 : 2;
            const std::int64_t count =
                std::max<std::int64_t>(1, turns * threads * bytes_of(products[i]) / bytes);
            cut(i, [&] { return (w.rows + count - 1) / count; });
        } else {
            cut(i, [&] { return std::clamp(2 * left / (3 * threads), shortest, kLongest) / w.stride; });
        }
    }
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
