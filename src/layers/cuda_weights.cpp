#include "layers/cuda_weights.h"

#include "base/error.h"
#include "base/human_bytes.h"
#include "base/out_of_memory.h"
#include "kernels/cuda/formats.h"

namespace cachalot {
namespace {

struct Part {
    const void* data;
    std::size_t bytes;
};

// Visits the memory of every weight that V4's boxes read: use(Part).
template <class Use>
void each_part(const Weights& weights, const Use& use) {
    const auto matrix = [&](const Matrix& m) {
        if (m.rows == 0) return;
        if (m.columns % cuda::kGroup != 0)
            fail("a matrix of {} columns cannot be read by a card, whose kernels take {} at a time",
                 m.columns, cuda::kGroup);
        use(Part{m.data, static_cast<std::size_t>((m.rows - 1) * m.stride + row_bytes(m.dtype, m.columns))});
        if (m.scales) use(Part{m.scales, static_cast<std::size_t>(m.scale_rows() * m.scale_stride)});
    };
    const auto vector = [&](const auto& v) {
        if (!v.empty()) use(Part{v.data(), v.size() * sizeof v[0]});
    };
    const auto mix = [&](const MixWeights& m) {
        matrix(m.fn);
        vector(m.base);
        vector(m.scale);
    };
    const auto compressor = [&](const CompressorWeights& c) {
        matrix(c.kv);
        matrix(c.gate);
        vector(c.ape);
        vector(c.norm);
    };
    const auto expert = [&](const ExpertWeights& e) {
        for (const Matrix* m : {&e.gate, &e.up, &e.down}) matrix(*m);
    };
    matrix(weights.embedding);
    for (const LayerWeights& layer : weights.layers) {
        mix(layer.attention_mix);
        mix(layer.expert_mix);
        vector(layer.attention_norm);
        vector(layer.expert_norm);
        const AttentionWeights& a = layer.attention;
        for (const Matrix* m : {&a.q_a, &a.q_b, &a.kv, &a.output_b, &a.indexer.q_b, &a.indexer.weights})
            matrix(*m);
        for (const Matrix& m : a.output_a) matrix(m);
        for (const auto* v : {&a.q_norm, &a.kv_norm, &a.sinks}) vector(*v);
        compressor(a.compressor);
        compressor(a.indexer.compressor);
        matrix(layer.router);
        vector(layer.router_bias);
        vector(layer.table);
        for (const ExpertWeights& e : layer.experts) expert(e);
        expert(layer.shared);
    }
    mix(weights.head_mix);
    vector(weights.norm);
    matrix(weights.head);
}

std::size_t rounded(std::size_t bytes) {
    constexpr std::size_t kUnit = 256;  // so that a kernel may read any vector of numbers
    return (bytes + kUnit - 1) / kUnit * kUnit;
}

}  // namespace

CudaWeights::CudaWeights(const Weights& weights, const std::shared_ptr<Device>& device, Stream& stream)
    : memory_(device) {
    const auto grids = cuda::grid_values();
    std::size_t total = rounded(grids.size_bytes());
    each_part(weights, [&](const Part& part) {
        if (places_.try_emplace(part.data, nullptr).second) total += rounded(part.bytes);
    });
    for (const LayerWeights& layer : weights.layers)
        total += rounded(layer.experts.size() * sizeof(ExpertWeights));
    if (const auto free = device->free_memory(); free && *free < total)
        throw OutOfMemory(
            fmt::format("{}: the weights of the model take {}, and {} are free there; use --device cpu, "
                        "or a file of the model with smaller types",
                        device->name(), human_bytes(total), human_bytes(*free)));
    std::byte* at = memory_.reserve(total);
    const auto send = [&](const void* data, std::size_t bytes) {
        std::byte* const to = at;
        stream.copy(to, static_cast<const std::byte*>(data), bytes);
        at += rounded(bytes);
        return to;
    };
    each_part(weights, [&](const Part& part) {
        if (auto& place = places_[part.data]; !place) place = send(part.data, part.bytes);
    });
    grids_ = cuda::grids_at(reinterpret_cast<const std::uint16_t*>(send(grids.data(), grids.size_bytes())));
    std::vector<std::vector<ExpertWeights>> tables;
    for (const LayerWeights& layer : weights.layers) {
        auto& table = tables.emplace_back();
        for (const ExpertWeights& e : layer.experts) table.push_back(expert(e));
        experts_.push_back(
            reinterpret_cast<const ExpertWeights*>(send(table.data(), table.size() * sizeof(ExpertWeights))));
    }
    stream.synchronize();
}

template <class T>
const T* CudaWeights::found(const T* on_host) const {
    const auto place = places_.find(on_host);
    CACHALOT_CHECK(place != places_.end());
    return reinterpret_cast<const T*>(place->second);
}

Matrix CudaWeights::matrix(const Matrix& on_host) const {
    Matrix m = on_host;
    m.data = found(m.data);
    if (m.scales) m.scales = found(m.scales);
    return m;
}

const float* CudaWeights::floats(const std::vector<float>& v) const {
    return v.empty() ? nullptr : found(v.data());
}

const std::int32_t* CudaWeights::integers(const std::vector<std::int32_t>& v) const {
    return v.empty() ? nullptr : found(v.data());
}

HyperConnectionWeights CudaWeights::mix(const MixWeights& m) const {
    return {matrix(m.fn), floats(m.base), floats(m.scale)};
}

ExpertWeights CudaWeights::expert(const ExpertWeights& e) const {
    return {matrix(e.gate), matrix(e.up), matrix(e.down)};
}

const ExpertWeights* CudaWeights::experts(int layer) const {
    return experts_[static_cast<std::size_t>(layer)];
}

}  // namespace cachalot
