#include "cache/expert_records.h"

#include <algorithm>
#include <functional>

#include "base/error.h"

namespace cachalot {
namespace {

struct Part {
    const char* name;
    const std::byte* data;
    std::uint64_t bytes;
};

// In the order in which the kernels use them.
std::vector<Part> parts_of(const ExpertWeights& expert) {
    std::vector<Part> parts;
    auto add = [&](const char* name, const Matrix& m) {
        const std::int64_t data_bytes = m.rows * m.stride;
        parts.push_back({name, m.data, static_cast<std::uint64_t>(data_bytes)});
        if (m.scales)
            parts.push_back({name, reinterpret_cast<const std::byte*>(m.scales),
                             static_cast<std::uint64_t>(m.bytes() - data_bytes)});
    };
    add("gate", expert.gate);
    add("up", expert.up);
    add("down", expert.down);
    return parts;
}

}  // namespace

ExpertRecords::ExpertRecords(const Model& model) : model_(model) {
    const Config& c = model.config;
    header_.model = c.name;
    header_.layers = c.layers;
    header_.experts = c.experts;
    header_.top_k = c.experts_per_token;
    for (const auto& layer : model.weights.layers) {
        std::uint64_t largest = 0;
        for (const auto& expert : layer.experts) {
            std::uint64_t bytes = 0;
            for (const auto& run : runs(expert, nullptr)) bytes += run.read_bytes();
            largest = std::max(largest, bytes);
        }
        header_.expert_bytes.push_back(largest);
    }
    validate(header_, model.checkpoint->source());
}

std::vector<const MappedFile*> ExpertRecords::files() const {
    std::vector<const MappedFile*> files;
    for (const auto& file : model_.checkpoint->files()) files.push_back(&file);
    return files;
}

const ExpertWeights& ExpertRecords::mapped(int layer, int expert) const {
    return model_.weights.layers[static_cast<std::size_t>(layer)].experts[static_cast<std::size_t>(expert)];
}

std::vector<BlockReader::Run> ExpertRecords::runs(const ExpertWeights& mapped, std::byte* slot) const {
    const auto files = model_.checkpoint->files();
    std::vector<BlockReader::Run> runs;
    std::uint64_t at = 0;
    for (const Part& part : parts_of(mapped)) {
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

const char* ExpertRecords::part_name(const ExpertWeights& mapped, std::size_t run) {
    return parts_of(mapped)[run].name;
}

ExpertWeights ExpertRecords::in_slot(const ExpertWeights& mapped, std::byte* slot) const {
    const auto all = runs(mapped, slot);
    auto run = all.begin();
    auto next = [&] {
        const std::byte* first = run->to + run->begin % BlockReader::kBlock;
        ++run;
        return first;
    };
    ExpertWeights weights = mapped;
    for (Matrix* m : {&weights.gate, &weights.up, &weights.down}) {
        m->data = next();
        if (m->scales) m->scales = reinterpret_cast<const std::uint8_t*>(next());
    }
    return weights;
}

}  // namespace cachalot
