#include "experts/expert_records.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "model/expert_parts.h"

namespace cachalot {

ExpertRecords::ExpertRecords(const Model& model, ExpertPacks packs)
    : model_(model), packs_(std::move(packs)) {
    const Config& c = model.config;
    header_.model = c.name;
    header_.layers = c.layers;
    header_.experts = c.experts;
    header_.top_k = c.experts_per_token;
    for (const auto& layer : model.weights.layers) {
        std::uint64_t largest = 0;
        for (const auto& expert : layer.experts) {
            std::uint64_t bytes = 0;
            for (const auto& run : runs_of_model(expert, nullptr)) bytes += run.read_bytes();
            largest = std::max(largest, bytes);
        }
        header_.expert_bytes.push_back(largest);
    }
    validate(header_, model.checkpoint->source());
}

std::vector<const MappedFile*> ExpertRecords::files() const {
    std::vector<const MappedFile*> files;
    for (const auto& file : model_.checkpoint->files()) files.push_back(&file);
    for (const auto& pack : packs_) files.push_back(&pack->file());
    return files;
}

const ExpertWeights& ExpertRecords::mapped(int layer, int expert) const {
    return model_.weights.layers[static_cast<std::size_t>(layer)].experts[static_cast<std::size_t>(expert)];
}

const ExpertPack* ExpertRecords::pack(int layer, int expert, int source) const {
    if (source >= static_cast<int>(packs_.size())) return nullptr;
    const auto number = static_cast<std::uint64_t>(layer * header_.experts + expert);
    // Fibonacci hashing: neighbours go to different disks, and every disk gets its share of any layer.
    const std::uint64_t first = number * 0x9e3779b97f4a7c15 >> 32;
    return packs_[(first + static_cast<std::uint64_t>(source)) % packs_.size()].get();
}

std::vector<BlockReader::Run> ExpertRecords::runs(int layer, int expert, int source, std::byte* slot) const {
    const ExpertPack* from = pack(layer, expert, source);
    if (!from) return runs_of_model(mapped(layer, expert), slot);
    const auto& place = from->layout().layers[static_cast<std::size_t>(layer)];
    BlockReader::Run run;
    run.file = model_.checkpoint->files().size();
    while (packs_[run.file - model_.checkpoint->files().size()].get() != from) ++run.file;
    run.begin = place.offset + static_cast<std::uint64_t>(expert) * place.stride;
    run.size = place.stride;
    run.to = slot;
    return {run};
}

std::vector<BlockReader::Run> ExpertRecords::runs_of_model(const ExpertWeights& mapped,
                                                           std::byte* slot) const {
    const auto files = model_.checkpoint->files();
    std::vector<BlockReader::Run> runs;
    std::uint64_t at = 0;
    for (const ExpertPart& part : parts_of(mapped)) {
        BlockReader::Run run;
        while (run.file < files.size()) {
            const auto bytes = files[run.file].bytes();
            // Pointers into different objects have no order but this one.
            if (!std::less<>()(part.data, bytes.data()) &&
                std::less<>()(part.data, bytes.data() + bytes.size())) {
                run.begin = static_cast<std::uint64_t>(part.data - bytes.data());
                break;
            }
            ++run.file;
        }
        if (run.file == files.size())
            fail("{}: experts that do not lie in a file cannot be cached", model_.checkpoint->source());
        run.size = part.bytes;
        if (slot) run.to = slot + at;
        at += run.read_bytes();
        runs.push_back(run);
    }
    return runs;
}

const char* ExpertRecords::run_name(int layer, int expert, int source, std::size_t run) const {
    return pack(layer, expert, source) ? "all of it" : parts_of(mapped(layer, expert))[run].name;
}

ExpertWeights ExpertRecords::in_slot(int layer, int expert, int source, std::byte* slot) const {
    const ExpertWeights& weights = mapped(layer, expert);
    if (const ExpertPack* from = pack(layer, expert, source)) {
        const auto& parts = from->layout().layers[static_cast<std::size_t>(layer)].parts;
        return with_parts_at(weights, [&](std::size_t i) { return slot + parts[i]; });
    }
    const auto all = runs_of_model(weights, slot);
    return with_parts_at(weights,
                         [&](std::size_t i) { return all[i].to + all[i].begin % BlockReader::kBlock; });
}

}  // namespace cachalot
