#include "model/model_parts.h"

#include <fmt/format.h>

#include "base/human_bytes.h"

namespace cachalot {

std::string_view part_name(ModelPart part) {
    switch (part) {
        case ModelPart::backbone: return "model";
        case ModelPart::engram: return "Engram tables";
        case ModelPart::drafter: return "drafter";
        case ModelPart::vision: return "vision";
    }
    return "";
}

ModelPart part_of(std::string_view name) {
    if (name.find(".engram.embed.") != name.npos || name.find(".engram_embd.") != name.npos)
        return ModelPart::engram;
    if (name.starts_with("mtp.") || name.starts_with("dspark.") || name.find(".nextn.") != name.npos)
        return ModelPart::drafter;
    for (const std::string_view start : {"vision.", "aligner.", "image_", "v.", "mm."})
        if (name.starts_with(start)) return ModelPart::vision;
    return ModelPart::backbone;
}

PartSums part_sums(std::span<const StoredTensor> tensors) {
    PartSums sums;
    for (const StoredTensor& t : tensors) {
        PartSum& sum = sums[static_cast<std::size_t>(part_of(t.view.name))];
        ++sum.tensors;
        sum.bytes += t.view.data.size();
    }
    return sums;
}

std::string unused_parts(std::span<const StoredTensor> tensors, bool drafter) {
    const PartSums sums = part_sums(tensors);
    std::string text;
    for (const ModelPart part : {ModelPart::drafter, ModelPart::vision}) {
        if (part == ModelPart::drafter && drafter) continue;
        if (const PartSum& sum = sums[static_cast<std::size_t>(part)]; sum.tensors)
            text += fmt::format("{}{} ({} tensors, {})", text.empty() ? "not used: " : ", ", part_name(part),
                                sum.tensors, human_bytes(sum.bytes));
    }
    return text;
}

}  // namespace cachalot
