#include "model/type_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "quant/quantize.h"

namespace cachalot {
namespace {

using Role = TensorSpec::Role;

constexpr int kPreciseLayers = 6;  // at the end, of q2-q4

void check_writable(DType type) {
    if (!can_quantize(type) && type != DType::f8_e4m3)
        fail("cannot write tensors of type {} (choose one of {}, or f8_e4m3 for matrices that are stored so)",
             name(type), quantizable_types());
}

int layer_of(const std::string& name) {
    int layer = -1;
    if (name.starts_with("blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
    return layer;
}

}  // namespace

DType lossless_type(DType type) {
    switch (type) {
        case DType::fp4_pairs: return DType::mxfp4;
        case DType::f8_e4m3: return DType::bf16;
        default: return type;
    }
}

TypePlan::TypePlan(const TypeOptions& options, const Config& config, std::string source)
    : options_(options), layers_(config.layers), source_(std::move(source)) {
    if (!options.recipe.empty() && std::ranges::find(kRecipes, options.recipe) == std::end(kRecipes))
        fail("unknown recipe '{}' (known: {})", options.recipe, fmt::join(kRecipes, ", "));
    for (const auto& type : {options.experts, options.dense, options.embeddings})
        if (type) check_writable(*type);
    for (const auto& [pattern, type] : options.overrides) {
        check_writable(type);
        try {
            rules_.push_back({pattern, std::regex(pattern), type});
        } catch (const std::regex_error& error) {
            fail("'{}' is not a regular expression: {}", pattern, error.what());
        }
    }
}

std::optional<DType> TypePlan::of_recipe(const TensorSpec& spec) const {
    const std::string& recipe = options_.recipe;
    if (recipe.empty() || spec.role == Role::sensitive) return {};
    if (is_fp8_in_releases(spec.role)) return DType::q8_0;
    if (spec.role == Role::head) return DType::q8_0;
    if (spec.role == Role::embedding) return {};
    if (spec.gguf.starts_with("dspark.") || spec.gguf.starts_with("mtp.")) return DType::mxfp4;
    const bool down = spec.gguf.find("ffn_down") != std::string::npos;
    if (recipe == "mxfp4") return DType::mxfp4;
    if (recipe == "q4" || (recipe == "q2-q4" && layer_of(spec.gguf) >= layers_ - kPreciseLayers))
        return DType::q4_k;
    if (recipe == "q3") return down ? DType::q3_k : DType::iq3_xxs;
    return down ? DType::q2_k : DType::iq2_xxs;
}

DType TypePlan::target(const TensorSpec& spec, const Matrix& stored) {
    std::optional<DType> chosen;
    if (spec.role == Role::experts) chosen = options_.experts;
    if (is_fp8_in_releases(spec.role)) chosen = options_.dense;
    if (spec.role == Role::embedding || spec.role == Role::head) chosen = options_.embeddings;
    for (Rule& rule : rules_)
        if (std::regex_match(spec.gguf, rule.regex)) {
            chosen = rule.type;
            rule.used = true;
        }
    if (!chosen) {
        const DType kept = lossless_type(stored.dtype);
        const DType wanted = of_recipe(spec).value_or(kept);
        return stored.columns % info(wanted).elements == 0 ? wanted : kept;
    }
    if (*chosen == DType::f8_e4m3 && stored.dtype != DType::f8_e4m3)
        fail(
            "{}: tensor {} is stored as {}, and only what is stored as f8_e4m3 can be kept so; "
            "choose another type for it",
            source_, spec.gguf, name(stored.dtype));
    if (stored.columns % info(*chosen).elements != 0)
        fail(
            "{}: tensor {} has rows of {} values, not whole blocks of {}, as {} needs; "
            "choose another type for it",
            source_, spec.gguf, stored.columns, info(*chosen).elements, name(*chosen));
    return *chosen;
}

void TypePlan::check_all_used() const {
    for (const Rule& rule : rules_)
        if (!rule.used)
            fail("the pattern '{}' matches no tensor; `cachalot inspect --tensors` lists the names",
                 rule.pattern);
}

}  // namespace cachalot
