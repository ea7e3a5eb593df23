#include "model/expert_pack.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked.h"
#include "file/output_file.h"
#include "model/expert_parts.h"
#include "model/fingerprint.h"

namespace cachalot {
namespace {

constexpr std::string_view kMagic = "CCPACK01";
constexpr std::uint64_t kBlock = 4096, kPartAlignment = 64;
constexpr std::size_t kFingerprintAt = 8, kNumbersAt = 24;

std::uint64_t up_to(std::uint64_t value, std::uint64_t multiple) {
    return checked_add(value, multiple - 1, "a pack of experts") / multiple * multiple;
}

// Sizes and types, whatever the place of the weights.
bool alike(const ExpertWeights& a, const ExpertWeights& b) {
    auto same = [](const Matrix& x, const Matrix& y) {
        return x.dtype == y.dtype && x.rows == y.rows && x.columns == y.columns && x.stride == y.stride &&
               (x.scales == nullptr) == (y.scales == nullptr) && x.bytes() == y.bytes();
    };
    return same(a.gate, b.gate) && same(a.up, b.up) && same(a.down, b.down);
}

std::uint64_t bytes_of_header(std::size_t layers) {
    return up_to(40 + 112 * layers + sizeof(Hash128), kBlock);
}

// With the blocks filled up.
std::vector<std::byte> header_of(const Model& model, const PackLayout& layout) {
    std::vector<std::byte> bytes;
    auto add = [&](const void* data, std::size_t size) {
        bytes.resize(bytes.size() + size);
        std::memcpy(bytes.data() + bytes.size() - size, data, size);
    };
    auto number = [&](auto value) { add(&value, sizeof value); };
    add(kMagic.data(), kMagic.size());
    const Hash128 fingerprint = model_fingerprint(model);
    add(fingerprint.data(), fingerprint.size());
    number(static_cast<std::uint32_t>(model.config.layers));
    number(static_cast<std::uint32_t>(model.config.experts));
    number(layout.file_bytes);
    for (std::size_t l = 0; l < layout.layers.size(); ++l) {
        const auto& layer = layout.layers[l];
        number(layer.offset);
        number(layer.stride);
        const ExpertWeights& expert = model.weights.layers[l].experts.front();
        const auto parts = parts_of(expert);
        std::size_t part = 0;
        for (const Matrix* m : {&expert.gate, &expert.up, &expert.down})
            for (const bool present : {true, m->scales != nullptr}) {
                number(present ? layer.parts[part] : std::uint64_t(0));
                number(present ? parts[part].bytes : std::uint64_t(0));
                part += present ? 1 : 0;
            }
    }
    const Hash128 hash = hash128(bytes);
    add(hash.data(), hash.size());
    bytes.resize(static_cast<std::size_t>(layout.header_bytes));
    return bytes;
}

}  // namespace

PackLayout pack_layout(const Model& model) {
    PackLayout layout;
    layout.header_bytes = bytes_of_header(model.weights.layers.size());
    std::uint64_t at = layout.header_bytes;
    for (std::size_t l = 0; l < model.weights.layers.size(); ++l) {
        const auto& experts = model.weights.layers[l].experts;
        for (const auto& expert : experts)
            if (!alike(expert, experts.front()))
                fail("{}: the experts of layer {} differ in their types and cannot be packed",
                     model.checkpoint->source(), l);
        PackLayout::Layer layer{at, 0, {}};
        for (const auto& part : parts_of(experts.front())) {
            layer.parts.push_back(layer.stride);
            layer.stride = up_to(checked_add(layer.stride, part.bytes, "a pack of experts"), kPartAlignment);
        }
        layer.stride = up_to(layer.stride, kBlock);
        at = checked_add(
            at, checked_mul(layer.stride, static_cast<std::uint64_t>(experts.size()), "a pack of experts"),
            "a pack of experts");
        layout.layers.push_back(std::move(layer));
    }
    layout.file_bytes = at;
    return layout;
}

std::filesystem::path default_pack_path(const std::filesystem::path& model) {
    if (std::filesystem::is_directory(model)) return model / "experts.pack";
    auto path = model;
    return path.replace_extension(".experts.pack");
}

void write_pack(const Model& model, const std::filesystem::path& path, const PackProgress& progress) {
    const PackLayout layout = pack_layout(model);
    OutputFile file(path);
    file.reserve(layout.file_bytes);
    file.write(header_of(model, layout));
    std::uint64_t written = layout.header_bytes;
    const std::array<std::byte, kBlock> zeros{};
    auto fill_to = [&](std::uint64_t end) {
        file.write(std::span(zeros).first(static_cast<std::size_t>(end - written)));
        written = end;
    };
    for (std::size_t l = 0; l < layout.layers.size(); ++l) {
        const auto& layer = layout.layers[l];
        const auto& experts = model.weights.layers[l].experts;
        for (std::size_t e = 0; e < experts.size(); ++e) {
            const std::uint64_t record = layer.offset + e * layer.stride;
            const auto parts = parts_of(experts[e]);
            for (std::size_t p = 0; p < parts.size(); ++p) {
                fill_to(record + layer.parts[p]);
                file.write({parts[p].data, static_cast<std::size_t>(parts[p].bytes)});
                written += parts[p].bytes;
            }
            fill_to(record + layer.stride);
            if (progress) progress(written, layout.file_bytes);
        }
    }
    CACHALOT_CHECK(written == layout.file_bytes);
    file.commit();
}

ExpertPack::ExpertPack(const Model& model, const std::filesystem::path& path)
    : file_(path), layout_(pack_layout(model)) {
    const auto expected = header_of(model, layout_);
    const auto bytes = file_.bytes();
    if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
        fail("{}: not a pack of experts", file_.path());
    if (bytes.size() < expected.size())
        fail("{}: truncated: {} bytes, the header alone has {}", file_.path(), bytes.size(), expected.size());
    const auto differs = std::mismatch(expected.begin(), expected.end(), bytes.begin());
    if (const auto at = static_cast<std::size_t>(differs.first - expected.begin()); at < expected.size()) {
        if (at >= kFingerprintAt && at < kNumbersAt)
            fail("{}: made from another model than {}", file_.path(), model.checkpoint->source());
        fail("{}: damaged, or packed in another way: the header differs at offset {}", file_.path(), at);
    }
    if (bytes.size() != layout_.file_bytes)
        fail("{}: truncated: {} bytes instead of {}", file_.path(), bytes.size(), layout_.file_bytes);
}

}  // namespace cachalot
