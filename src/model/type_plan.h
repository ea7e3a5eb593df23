// Which type every tensor of a converted model gets.
//
// From the weakest to the strongest: what holds all values of the source; a recipe; a type for a class of
// tensors; a type for tensors whose name matches a pattern.
//
//   recipe   routed gate, up   routed down   attention, shared experts   head   Flash, as files
//   mxfp4    MXFP4             MXFP4         Q8_0                        Q8_0   156 GB
//   q4       Q4_K              Q4_K          Q8_0                        Q8_0   165 GB
//   q3       IQ3_XXS           Q3_K          Q8_0                        Q8_0   119 GB
//   q2-q4    as q2, the last six layers as q4                                    97 GB
//   q2       IQ2_XXS           Q2_K          Q8_0                        Q8_0    87 GB
//
// The drafter's experts are MXFP4 in all of them, as released: they are few, and no importance was measured
// for them.
//
// Router, compressors, hyper-connections and norms are never touched by a recipe or a class: they are small,
// and errors in them change which experts and rows are read at all. Where rows are not whole blocks of the
// recipe's type, the tensor keeps what it has (embeddings, experts) or becomes Q8_0.
#pragma once

#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/model_tensors.h"
#include "tensor/matrix.h"

namespace cachalot {

struct TypeOverride {
    std::string pattern;  // a regular expression (ECMAScript) that must match the whole GGUF name
    DType type;
};

struct TypeOptions {
    std::string recipe;  // "": none
    std::optional<DType> experts, dense, embeddings;
    std::vector<TypeOverride> overrides;  // of several that match, the last counts
};

class TypePlan {
  public:
    // `source` is the file that the tensors are in, for messages. Throws Error for an unknown recipe, a type
    // that cannot be written or a pattern that is none.
    TypePlan(const TypeOptions& options, const Config& config, std::string source);

    // The type for a matrix or experts that are stored as `stored`. Throws Error naming the tensor if an
    // explicit type does not suit it.
    DType target(const TensorSpec& spec, const Matrix& stored);

    // Throws Error if a pattern matched no tensor: a typing error would cost hours of work.
    void check_all_used() const;

    static constexpr std::string_view kRecipes[] = {"mxfp4", "q4", "q3", "q2-q4", "q2"};

  private:
    std::optional<DType> of_recipe(const TensorSpec& spec) const;

    struct Rule {
        std::string pattern;
        std::regex regex;
        DType type;
        bool used = false;
    };
    TypeOptions options_;
    int layers_;
    std::string source_;
    std::vector<Rule> rules_;
};

// The type that holds every value of `type` in a GGUF file.
DType lossless_type(DType type);

}  // namespace cachalot
