#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/cpu/cpu_primitives.h"
#include "kernels/cpu/division.h"
#include "kernels/cpu/instruction_sets.h"
#include "tensor/convert.h"

namespace cachalot::cpu {
namespace {

constexpr int kStreams = 4;

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

}  // namespace

void unsupported_type(DType type) {
    throw InternalError(fmt::format("no kernel for weights of type {}", cachalot::name(type)));
}

namespace {

std::vector<NumaNode> nodes_to_use(CpuOptions::Numa numa) {
    std::vector<NumaNode> nodes;
    if (numa != CpuOptions::Numa::off) nodes = numa_nodes();
    if (numa == CpuOptions::Numa::automatic && nodes.size() < 2) nodes.clear();
    if (!nodes.empty()) interleave_memory(nodes);  // before the pool's threads start: they inherit it
    return nodes;
}

}  // namespace

CpuPrimitives::CpuPrimitives(const Table& kernels, const CpuOptions& options)
    : kernels_(kernels), precision_(options.precision), pool_(options.threads, nodes_to_use(options.numa)) {
    name_ = fmt::format("{} x{}", CpuPrimitives::kernels(), pool_.size());
    scratch_.resize(static_cast<std::size_t>(pool_.size()));
}

std::string CpuPrimitives::kernels() const { return fmt::format("cpu {}", kernels_.name); }

void CpuPrimitives::embed(const Matrix& table, std::span<const std::int32_t> tokens, float* streams) {
    const std::int64_t hidden = table.columns, count = static_cast<std::int64_t>(tokens.size());
    each(count, count * hidden * 4, [&](std::int64_t i, int) {
        float* row = streams + i * kStreams * hidden;
        dequantize_row(table, tokens[static_cast<std::size_t>(i)], {row, static_cast<std::size_t>(hidden)});
        for (int s = 1; s < kStreams; ++s) std::copy_n(row, hidden, row + s * hidden);
    });
}

float* CpuPrimitives::mixes(const HyperConnectionWeights& w, const HyperConnectionParams& p,
                            const float* streams, int rows) {
    float* mix = mixes_.reserve(static_cast<std::size_t>(rows * w.fn.rows));
    Projection projection{&w.fn, streams, std::int64_t(kStreams) * p.hidden, mix, w.fn.rows};
    project({&projection, 1}, rows);
    return mix;
}

float CpuPrimitives::inverse_rms(const HyperConnectionParams& p, const float* streams) const {
    const std::int64_t n = std::int64_t(kStreams) * p.hidden;
    return 1.0f / std::sqrt(kernels_.sum_of_squares(streams, n) / static_cast<float>(n) + p.norm_eps);
}

void CpuPrimitives::hyper_connection_pre(const HyperConnectionWeights& w, const HyperConnectionParams& p,
                                         const float* norm, const float* streams, int rows, float* x,
                                         float* post, float* comb, float* delayed) {
    const float* mix = mixes(w, p, streams, rows);
    constexpr std::int64_t kBlock = 16;  // rows whose coefficients are computed together
    const std::int64_t block = std::clamp<std::int64_t>(rows / (2 * pool_.size()), 1, kBlock);
    each((rows + block - 1) / block, std::int64_t(rows) * p.hidden * 12, [&](std::int64_t i, int) {
        const std::int64_t first = i * block;
        const auto count = static_cast<int>(std::min(block, rows - first));
        float inverse[kBlock], pre[kBlock * kStreams];
        auto streams_of = [&](int r) { return streams + (first + r) * kStreams * p.hidden; };
        for (int r = 0; r < count; ++r) inverse[r] = inverse_rms(p, streams_of(r));
        kernels_.mix(mix + first * w.fn.rows, inverse, count, w.scale, w.base, p.sinkhorn_iterations, p.eps,
                     pre, post + first * 4, comb + first * 16);
        for (int r = 0; r < count; ++r) {
            float* out = x + (first + r) * p.hidden;
            float* own = pre + r * kStreams;
            float* used = delayed ? delayed + (first + r) * kStreams : own;
            kernels_.collapse(used, streams_of(r), out, p.hidden);
            if (delayed) std::copy_n(own, kStreams, used);
            kernels_.rms_norm(out, norm, p.norm_eps, p.hidden);
        }
    });
}

void CpuPrimitives::hyper_connection_post(const HyperConnectionParams& p, const float* out, const float* post,
                                          const float* comb, float* streams, int rows) {
    each(rows, std::int64_t(rows) * p.hidden * 8, [&](std::int64_t r, int) {
        kernels_.spread(out + r * p.hidden, post + r * 4, comb + r * 16, streams + r * kStreams * p.hidden,
                        p.hidden);
    });
}

void CpuPrimitives::hyper_connection_head(const HyperConnectionWeights& w, const HyperConnectionParams& p,
                                          const float* norm, const float* streams, int rows, float* x,
                                          const float* delayed) {
    const float* mix = delayed ? nullptr : mixes(w, p, streams, rows);
    each(rows, std::int64_t(rows) * p.hidden * 12, [&](std::int64_t r, int) {
        float pre[kStreams];
        if (delayed) {
            std::copy_n(delayed + r * kStreams, kStreams, pre);
        } else {
            const float inverse = inverse_rms(p, streams + r * kStreams * p.hidden);
            for (int j = 0; j < 4; ++j)
                pre[j] = sigmoid(mix[r * 4 + j] * inverse * w.scale[0] + w.base[j]) + p.eps;
        }
        kernels_.collapse(pre, streams + r * kStreams * p.hidden, x + r * p.hidden, p.hidden);
        if (norm) kernels_.rms_norm(x + r * p.hidden, norm, p.norm_eps, p.hidden);
    });
}

void CpuPrimitives::average(const float* streams, int hidden, int rows, float* y, std::int64_t y_stride) {
    each(rows, std::int64_t(rows) * hidden * kStreams, [&](std::int64_t r, int) {
        constexpr float kEqual[kStreams] = {0.25f, 0.25f, 0.25f, 0.25f};
        kernels_.collapse(kEqual, streams + r * kStreams * hidden, y + r * y_stride, hidden);
    });
}

void CpuPrimitives::engram(const EngramParams& p, const float* kv, float* streams, int rows) {
    const std::int64_t H = p.hidden;
    each(std::int64_t(rows) * kStreams, std::int64_t(rows) * kStreams * H * 4, [&](std::int64_t i, int) {
        const std::int64_t row = i / kStreams, k = i % kStreams;
        const float* key = kv + (row * (kStreams + 1) + k) * H;
        const float* value = kv + (row * (kStreams + 1) + kStreams) * H;
        float* x = streams + i * H;
        kernels_.add_gated(x, key, p.q + k * H, p.k + k * H, value, p.norm_eps, H);
    });
}

Form form_of(DType type, Precision precision, const Table& table) {
    if (precision != Precision::fast) return Form::f32;
    switch (type) {
        case DType::f8_e4m3:
        case DType::bf16: return table.round_to_bf16 ? Form::bf16 : Form::f32;
        case DType::mxfp4:
        case DType::fp4_pairs:
        case DType::q8_0:
        case DType::q4_k:
        case DType::q2_k:
        case DType::iq2_xxs: return Form::int8;
        default: return Form::f32;
    }
}

Activations CpuPrimitives::Rounded::reserve(const float* x, std::int64_t stride, std::int64_t columns,
                                            std::int64_t rows, bool int8, bool bf16) {
    columns_ = columns;
    rows_ = rows;
    q_ = int8 ? int8_.reserve(static_cast<std::size_t>(rows * columns / 32)) : nullptr;
    b_ = bf16 ? bf16_.reserve(static_cast<std::size_t>(rows * columns)) : nullptr;
    return {x, stride, q_, rows, b_, columns};
}

void CpuPrimitives::Rounded::round(const Table& kernels, const float* from, std::int64_t row) {
    if (q_) kernels.quantize(from, columns_, q_ + row, rows_);
    if (b_) kernels.round_to_bf16(from, columns_, b_ + row * columns_);
}

void CpuPrimitives::Rounded::copy(std::int64_t from_row, std::int64_t to_row) {
    if (q_)
        for (std::int64_t g = 0; g < columns_ / 32; ++g) q_[g * rows_ + to_row] = q_[g * rows_ + from_row];
    if (b_) std::copy_n(b_ + from_row * columns_, columns_, b_ + to_row * columns_);
}

Activations CpuPrimitives::round_rows(Form form, const float* x, std::int64_t stride, std::int64_t columns,
                                      int rows, Rounded& out) {
    constexpr std::int64_t kBlock = 16;
    if (form == Form::f32) return {x, stride};
    const Activations a = out.reserve(x, stride, columns, rows, form == Form::int8, form == Form::bf16);
    each((rows + kBlock - 1) / kBlock, rows * columns, [&](std::int64_t block, int) {
        for (std::int64_t r = block * kBlock; r < std::min<std::int64_t>(rows, (block + 1) * kBlock); ++r)
            out.round(kernels_, x + r * stride, r);
    });
    return a;
}

void CpuPrimitives::project(std::span<const Projection> projections, int rows) {
    if (rows == 0) return;
    // Round each distinct input once to each form.
    std::vector<Activations> inputs;
    std::vector<Form> forms;
    rounded_.resize(std::max(rounded_.size(), projections.size()));
    for (std::size_t i = 0; i < projections.size(); ++i) {
        const auto& p = projections[i];
        const Form form = p.float_inputs ? Form::f32 : form_for(*p.weight);
        std::size_t j = 0;
        while (j < i && !(forms[j] == form && inputs[j].x == p.x && inputs[j].stride == p.x_stride &&
                          projections[j].weight->columns == p.weight->columns))
            ++j;
        inputs.push_back(j < i ? inputs[j]
                               : round_rows(form, p.x, p.x_stride, p.weight->columns, rows, rounded_[i]));
        forms.push_back(form);
    }
    std::vector<Product> products;
    std::int64_t work = 0;
    for (const auto& p : projections) {
        products.push_back({p.weight, rows});
        work += p.weight->rows * p.weight->columns * rows;
    }
    const auto pieces = divide(products, pool_.size());
    each(static_cast<std::int64_t>(pieces.size()), work, [&](std::int64_t i, int) {
        const Piece& piece = pieces[static_cast<std::size_t>(i)];
        const Projection& p = projections[piece.product];
        kernels_.matmul(*p.weight, piece.first, piece.last, inputs[piece.product].from_row(piece.row),
                        piece.rows, p.y + piece.row * p.y_stride, p.y_stride);
    });
}

void CpuPrimitives::rms_norm(float* x, const float* weight, float eps, int rows, int n) {
    each(rows, std::int64_t(rows) * n * 2,
         [&](std::int64_t r, int) { kernels_.rms_norm(x + r * n, weight, eps, n); });
}

}  // namespace cachalot::cpu

namespace cachalot {

std::unique_ptr<Primitives> make_cpu_primitives(const CpuOptions& options) {
    return std::make_unique<cpu::CpuPrimitives>(cpu::choose_table(options.isa), options);
}

}  // namespace cachalot
