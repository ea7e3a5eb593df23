// Every tensor of a model, in one table: its name in GGUF files and in DeepSeek's releases, its shape, how it
// is stored, and the member of Weights that it becomes.
//
// The table follows from the configuration alone. Binding, reading a release, converting, quantising,
// synthesising and counting costs walk it, so a new tensor is one line here and nowhere else.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/config.h"
#include "model/weights.h"

namespace cachalot {

// One matrix of each routed expert of a layer.
struct ExpertMember {
    std::vector<ExpertWeights>* experts;  // [E]
    Matrix ExpertWeights::*matrix;
};

// A matrix that is used as several, one below the other.
struct SlicedMember {
    std::vector<Matrix>* slices;
    int count;
};

// Where a tensor is kept once it is bound.
using TensorMember = std::variant<Matrix*, SlicedMember, ExpertMember, EngramTable*, std::vector<float>*,
                                  std::vector<std::int32_t>*>;

struct TensorSpec {
    enum class Kind : std::uint8_t {
        matrix,    // [rows, columns], multiplied with activations
        plain,     // the same of any width, for which the kernels are not made
        experts,   // [experts, rows, columns]; a release has one tensor for each expert
        floats,    // [rows, columns] small parameters, used as float32; [columns] if rows is 1
        integers,  // [rows, columns]
        table,     // [rows, columns] of Engram, read from the disk a row at a time (engram_table.h)
    };
    // What it is for, which decides how it is stored and how often a token reads it.
    enum class Role : std::uint8_t {
        embedding,       // one row for each token
        head,            // of which logits are made
        experts,         // routed experts, a few for each token; a release stores them in FP4
        shared_experts,  // for every token; a release stores them in FP8
        dense,           // attention projections, likewise
        engram,          // tables, a few rows for each token
        sensitive,       // everything else: small, and kept as it is
    };
    Kind kind;
    Role role;
    std::string gguf;
    std::string release;  // of `experts`: with {} in place of the expert's number
    std::int64_t rows, columns;
    int experts = 0;
    std::function<TensorMember(Weights&)> member;  // of weights with as many layers as the configuration has
};

// In the order of the forward pass.
std::vector<TensorSpec> model_tensors(const Config& config);

// Those of the drafter: of its stages S what a layer of the model has, named dspark.S. or mtp.S. instead of
// blk.S., and what stands before and behind the stages. Empty if there is none. `member` is of weights whose
// drafter has as many stages as drafter_stages() has layers.
//
// The names under mtp. are ours. Those of other programs for such blocks (blk.N.nextn.*) have one matrix for
// embedding and stream, which is not what the release has, and nothing for the mixing of the streams.
std::vector<TensorSpec> drafter_tensors(const Config& config);

// Visits every matrix of a model's weights: use(its row of the table, the matrix). Slices and experts come
// one by one.
void each_matrix(const Config& config, const Weights& weights,
                 const std::function<void(const TensorSpec&, const Matrix&)>& use);

// The same for a model that is not there: matrices without data, of the types that `type` says.
using TypeOf = std::function<DType(const TensorSpec&)>;
void each_matrix(const Config& config, const TypeOf& type,
                 const std::function<void(const TensorSpec&, const Matrix&)>& use);

// Whether a release stores it in FP8.
bool is_fp8_in_releases(TensorSpec::Role role);
// The type of a matrix in a release.
DType release_type(const TensorSpec& spec);

// The tensor with the scales of a tensor whose name ends in ".weight", in a release or an FP8 matrix in GGUF.
std::string scale_tensor(std::string_view name);

}  // namespace cachalot
