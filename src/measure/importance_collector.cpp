#include "measure/importance_collector.h"

#include <fmt/format.h>

#include "base/error.h"
#include "model/model_tensors.h"

namespace cachalot {

ImportanceCollector::ImportanceCollector(const Model& model, ImportanceMatrix& into) {
    for (const TensorSpec& t : model_tensors(model.config)) {
        if (t.kind == TensorSpec::Kind::experts) into.entry(t.gguf, t.experts, t.columns);
        const bool mixing = t.gguf.find("hc_") != std::string::npos;
        if (t.kind != TensorSpec::Kind::matrix || mixing || t.gguf == "token_embd.weight") continue;
        const Matrix m = model.checkpoint->matrix(t.gguf, t.rows, t.columns);
        dense_[m.data] = {m.row(m.rows), &into.entry(t.gguf, 1, t.columns)};
    }
    const std::int64_t experts = model.config.experts, hidden = model.config.hidden_size,
                       inner = model.config.expert_hidden_size;
    for (int l = 0; l < model.config.layers; ++l) {
        auto entry = [&](const char* part, const char* which, std::int64_t count, std::int64_t columns) {
            return &into.entry(fmt::format("blk.{}.ffn_{}_{}.weight", l, part, which), count, columns);
        };
        layers_[&model.weights.layers[static_cast<std::size_t>(l)].shared] = {
            entry("gate", "exps", experts, hidden), entry("up", "exps", experts, hidden),
            entry("down", "exps", experts, inner),  entry("gate", "shexp", 1, hidden),
            entry("up", "shexp", 1, hidden),        entry("down", "shexp", 1, inner)};
    }
}

// The sums of a call are taken apart from those so far: a small number added to a large one would lose its
// digits.
void ImportanceCollector::add(Entry& entry, std::int64_t expert, const float* x, std::int64_t rows,
                              std::int64_t stride) {
    const auto columns = static_cast<std::size_t>(entry.columns);
    squares_.assign(columns, 0.0f);
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c)
            squares_[c] += x[r * stride + std::int64_t(c)] * x[r * stride + std::int64_t(c)];
    float* sums = entry.sums.data() + expert * entry.columns;
    for (std::size_t c = 0; c < columns; ++c) sums[c] += squares_[c];
    entry.counts[static_cast<std::size_t>(expert)] += rows;
}

void ImportanceCollector::projected(const Projection& p, int rows) {
    auto found = dense_.upper_bound(p.weight->data);
    if (found == dense_.begin() || p.weight->data >= (--found)->second.end) return;
    add(*found->second.entry, 0, p.x, rows, p.x_stride);
}

void ImportanceCollector::entered(const ExpertsCall& call) {
    const Layer& layer = layers_.at(call.shared);
    const std::int64_t hidden = layer.gate->columns;
    for (std::int64_t slot = 0; slot < std::int64_t(call.rows) * call.top_k; ++slot)
        for (Entry* entry : {layer.gate, layer.up})
            add(*entry, call.ids[slot], call.x + slot / call.top_k * hidden, 1, hidden);
    for (Entry* entry : {layer.gate_shared, layer.up_shared}) add(*entry, 0, call.x, call.rows, hidden);
}

void ImportanceCollector::activated(const ExpertsCall& call, std::int32_t expert, const float* h,
                                    std::int64_t rows, std::int64_t columns, std::int64_t stride) {
    const Layer& layer = layers_.at(call.shared);
    Entry& entry = expert == kSharedExpert ? *layer.down_shared : *layer.down;
    CACHALOT_CHECK(entry.columns == columns);
    add(entry, expert == kSharedExpert ? 0 : expert, h, rows, stride);
}

}  // namespace cachalot
