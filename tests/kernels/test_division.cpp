// How products are divided among threads: every result once, and threads that end together.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "kernels/cpu/division.h"
#include "tensor/dtype.h"

namespace cachalot::cpu {
namespace {

Matrix matrix(DType type, std::int64_t rows, std::int64_t columns) {
    return {type, rows, columns, nullptr, row_bytes(type, columns)};
}

TEST(Division, EveryRowOfEveryProductIsThereOnce) {
    std::mt19937 random(3);
    auto up_to = [&](std::int64_t n) { return 1 + static_cast<std::int64_t>(random()) % n; };
    for (int round = 0; round < 100; ++round) {
        std::vector<Matrix> matrices;
        std::vector<Product> products;
        for (std::int64_t i = up_to(5); i > 0; --i)
            matrices.push_back(matrix(DType::q8_0, up_to(round % 2 ? 5000 : 100), 32 * up_to(64)));
        const bool few = round % 3 == 0;
        for (const Matrix& m : matrices) products.push_back({&m, up_to(few ? 4 : 600)});
        std::vector<std::vector<int>> seen;
        for (const Product& p : products)
            seen.emplace_back(static_cast<std::size_t>(p.weights->rows * p.rows));
        for (const Piece& piece : divide(products, static_cast<int>(up_to(32)))) {
            const Product& p = products.at(piece.product);
            ASSERT_LE(0, piece.first);
            ASSERT_LT(piece.first, piece.last);
            ASSERT_LE(piece.last, p.weights->rows);
            ASSERT_EQ(piece.first % 4, 0);
            ASSERT_GT(piece.rows, 0);
            ASSERT_LE(piece.row + piece.rows, p.rows);
            for (std::int64_t r = piece.row; r < piece.row + piece.rows; ++r)
                for (std::int64_t n = piece.first; n < piece.last; ++n)
                    ++seen[piece.product][static_cast<std::size_t>(r * p.weights->rows + n)];
        }
        for (const auto& counts : seen)
            EXPECT_TRUE(std::all_of(counts.begin(), counts.end(), [](int n) { return n == 1; }));
    }
}

// Threads that take pieces as they get free, each as fast as the others: what the last one has beyond its
// share.
TEST(Division, ThreadsEndTogether) {
    const std::pair<std::int64_t, std::int64_t> shapes[] = {{1024, 4096}, {512, 4096},  {32768, 1024},
                                                            {4096, 8192}, {2048, 4096}, {129280, 4096}};
    for (auto [rows, columns] : shapes)
        for (int threads : {2, 4, 16}) {
            const Matrix m = matrix(DType::q8_0, rows, columns);
            const Product product{&m, 1};
            std::vector<std::int64_t> busy(static_cast<std::size_t>(threads));
            auto pieces = divide({&product, 1}, threads);
            for (auto front = pieces.begin(), back = pieces.end(); front < back;) {  // as in ThreadPool
                const auto next = std::min_element(busy.begin(), busy.end());
                const Piece& piece = 2 * (next - busy.begin()) < threads ? *front++ : *--back;
                *next += piece.last - piece.first;
            }
            const auto longest = static_cast<double>(*std::max_element(busy.begin(), busy.end()));
            EXPECT_LE(longest, std::max(1.05 * static_cast<double>(rows) / threads, 32.0))
                << rows << " x " << columns << ", " << threads << " threads";
        }
}

}  // namespace
}  // namespace cachalot::cpu
