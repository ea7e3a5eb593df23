// How matrix products are divided among threads.
//
// The problem: threads must end together, whatever shapes the matrices have and however much a thread is held
// up, but each piece has a start (a memory latency, activations to be packed). The choice depends on how
// often weights are used:
//
//   few rows of activations    memory is the limit, so pieces are runs of bytes: each half of what is left
//                              for a thread (guided self-scheduling: Polychronopoulos and Kuck, 1987), so
//                              that they get shorter and threads differ by at most a short one in the end.
//                              They are cut from the front and from the back in turns, as threads take them
//                              (thread_pool.h), the shortest in the middle. In equal pieces, three for each
//                              of two threads, a product of 1,024 rows kept one busy for 12 % longer.
//   many                       arithmetic is the limit: blocks of weights and of activations that caches
//                              hold, several for each thread
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/matrix.h"

namespace cachalot::cpu {

struct Product {
    const Matrix* weights;
    std::int64_t rows;  // of activations
};

// Rows [first, last) of the weights of a product, times `rows` rows of its activations from `row` on.
struct Piece {
    std::size_t product;
    std::int64_t first, last, row;
    int rows;
};

// Pieces of all products, for threads that take them from either end. All but the last piece of a matrix
// begin and end at multiples of 32 rows of weights (4 where the matrix has no such number of rows).
std::vector<Piece> divide(std::span<const Product> products, int threads);

}  // namespace cachalot::cpu
