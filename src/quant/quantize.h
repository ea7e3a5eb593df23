// Float32 rows to the quantised types of files, as well as each format can hold them.
//
// What is minimised is always the same: the sum over a block of w (x - y)^2, where y is what the block
// decodes to and w says how much a column matters. For a matrix that is multiplied with activations a, the
// expected square of the error of a product is the sum of E[a_j^2] (x_j - y_j)^2 as long as columns are
// uncorrelated: so w is the mean square of the column's input, which an importance matrix holds, or 1 where
// nobody has measured it.
//
// A block has few free numbers (its scales) and many dependent ones (its codes), and given the scales the
// best codes are known: nearest levels or nearest patterns. So each family searches scales, and solves the
// least squares that the codes leave:
//
//   uniform.inl   one scale, or a scale and a minimum, for 32 values: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4
//   k_quants.inl  two levels of scales in blocks of 256: Q2_K to Q6_K
//   patterns.inl  patterns from a table: IQ2_XXS, IQ3_XXS
//
// They are compiled once for each instruction set. All sums have eight lanes in a fixed order, so every
// processor writes the same bytes.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace cachalot {

// True for the types that quantize() can write: f32, f16, bf16 and those above.
bool can_quantize(DType type);
// "f32, f16, ...", for messages.
std::string_view quantizable_types();

// One row. importance: empty, or a weight >= 0 for each value (see usable_importance). out has
// row_bytes(type, values.size()) bytes. Throws Error for another type, a value that is not finite or one that
// is too large for the type.
void quantize(DType type, std::span<const float> values, std::span<const float> importance,
              std::span<std::byte> out);

// Makes weights of measured mean squares: their mean becomes 1, and none is less than a thousandth, since a
// column that was silent in a sample of text is not silent for ever. False if there is nothing to go by: no
// positive value at all.
bool usable_importance(std::span<float> mean_squares);

}  // namespace cachalot
