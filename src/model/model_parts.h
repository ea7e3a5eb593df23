// What the tensors of a file belong to, told by their names: the model itself, or what releases have beside
// it. Pictures are not computed with.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "file/tensor_file.h"

namespace cachalot {

enum class ModelPart : std::uint8_t {
    backbone,
    engram,   // tables only
    drafter,  // blocks of multi-token prediction (MTP), or the stages of DSpark
    vision,   // what turns pictures into embeddings
};
inline constexpr int kModelParts = 4;

std::string_view part_name(ModelPart part);

// Of a tensor of a release or of a GGUF file.
ModelPart part_of(std::string_view tensor);

struct PartSum {
    std::int64_t tensors = 0;
    std::uint64_t bytes = 0;
};
using PartSums = std::array<PartSum, kModelParts>;  // by ModelPart

PartSums part_sums(std::span<const StoredTensor> tensors);

// "not used: vision (18 tensors, 3.1 MB), ..."; empty if everything is. `drafter`: it can be used.
std::string unused_parts(std::span<const StoredTensor> tensors, bool drafter);

}  // namespace cachalot
