#include "layers/attention.h"

namespace cachalot {
namespace {

// The rings of one sequence while a chunk is computed (state/row_ring.h).
struct OpenRings {
    RingView window, kv, score, index_kv, index_score;
};

// Where the rings of a layer meet their views; `use(ring, view)`.
template <class Use>
void each_ring(const LayerLayout& layout, OpenRings& open, const Use& use) {
    use(layout.window, open.window);
    if (layout.compressed.ratio) {
        use(layout.compressed.kv, open.kv);
        use(layout.compressed.score, open.score);
    }
    if (layout.index.ratio) {
        use(layout.index.kv, open.index_kv);
        use(layout.index.score, open.index_score);
    }
}

std::vector<OpenRings> open_rings(int layer, std::span<const BatchRows> sequences, Workspace& ws) {
    std::vector<OpenRings> open(sequences.size());
    std::size_t next = 0;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        const auto& s = sequences[i];
        each_ring(s.state->layout().layer(layer), open[i], [&](const RowRing& ring, RingView& view) {
            if (next == ws.rings.size()) ws.rings.emplace_back();
            auto* scratch = ws.rings[next++].reserve(
                static_cast<std::size_t>(ring.scratch_rows(s.count) * ring.row_bytes));
            view = ring.open(s.state->slab().address(), s.start, s.count, scratch);
        });
    }
    return open;
}

void close_rings(int layer, std::span<const BatchRows> sequences, std::vector<OpenRings>& open) {
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        const auto& s = sequences[i];
        each_ring(s.state->layout().layer(layer), open[i], [&](const RowRing& ring, const RingView& view) {
            ring.close(s.state->slab().address(), view, s.start, s.count);
        });
    }
}

// The compressor: a learned, per-channel softmax pooling of each group's tokens into one row. Used for the latent
// rows of CSA and HCA layers and, narrower and Hadamard-rotated, for the indexer's keys.
CompressCall compressor(const Config& c, const CompressorWeights& w, const CompressorLayout& layout,
                        const BatchRows& s, const AlignedBuffer<float>& kv, const AlignedBuffer<float>& gate,
                        const RingView& kv_ring, const RingView& score_ring, const RowFormat& format,
                        bool hadamard, const Workspace& ws) {
    CompressCall call;
    call.start = s.start;
    call.rows = s.count;
    call.width = static_cast<int>(w.kv.rows);
    call.kv = kv.data() + std::int64_t(s.first) * call.width;
    call.gate = gate.data() + std::int64_t(s.first) * call.width;
    call.ape = w.ape.data();
    call.ratio = layout.ratio;
    call.overlap = layout.overlap;
    call.kv_state = kv_ring;
    call.score_state = score_ring;
    call.norm = w.norm.data();
    call.norm_eps = c.norm_eps;
    call.frequencies = ws.rope.frequencies(true);
    call.hadamard = hadamard;
    call.format = format;
    call.out = layout.rows(s.state->pages().addresses());
    return call;
}

}  // namespace

void attention(Backend& backend, const Config& c, const AttentionWeights& w, int layer, const Batch& batch,
               Workspace& ws) {
    const Traced span(ws.trace, "attention", layer);
    const std::span<const BatchRows> sequences = batch.sequences();
    const int rows = batch.rows();
    const LayerShape& shape = c.shape(layer);
    const int ratio = shape.ratio;
    const bool indexed = shape.indexer;
    const std::int64_t H = c.hidden_size, D = c.head_dim, n = rows;
    const std::int64_t low = std::int64_t(c.output_groups) * c.output_lora_rank;
    auto open = open_rings(layer, sequences, ws);

    // Everything that reads x: [rows, H] ->
    auto into = [&](AlignedBuffer<float>& buffer, const Matrix& m, const float* x) -> Projection {
        return {&m, x, m.columns, buffer.reserve(static_cast<std::size_t>(n * m.rows)), m.rows};
    };
    std::vector<Projection> from_x = {into(ws.q_low, w.q_a, ws.x.data()),  // [rows, q_lora_rank]
                                      into(ws.kv, w.kv, ws.x.data())};     // [rows, D]
    if (ratio) {
        from_x.push_back(into(ws.pool_kv, w.compressor.kv, ws.x.data()));      // [rows, width]
        from_x.push_back(into(ws.pool_gate, w.compressor.gate, ws.x.data()));  // [rows, width]
    }
    if (indexed) {
        from_x.push_back(into(ws.index_weights, w.indexer.weights, ws.x.data()));  // [rows, index_heads]
        from_x.push_back(
            into(ws.index_kv, w.indexer.compressor.kv, ws.x.data()));  // [rows, 2 * index_head_dim]
        from_x.push_back(
            into(ws.index_gate, w.indexer.compressor.gate, ws.x.data()));  // [rows, 2 * index_head_dim]
    }
    backend.project(from_x, rows);

    // Queries, of attention and indexer, from the low-rank latent.
    backend.rms_norm(ws.q_low.data(), w.q_norm.data(), c.norm_eps, rows, c.q_lora_rank);
    std::vector<Projection> from_q = {into(ws.q, w.q_b, ws.q_low.data())};  // [rows, heads, D]
    if (indexed)
        from_q.push_back(
            into(ws.index_q, w.indexer.q_b, ws.q_low.data()));  // [rows, index_heads, index_head_dim]
    backend.project(from_q, rows);
    backend.query_heads(ws.q.data(), c.norm_eps, ws.rope.rows(ratio != 0, 0), rows, c.heads, c.head_dim);

    std::vector<LatentCall> latents;
    std::vector<CompressCall> pools;
    std::vector<IndexCall> choices;
    std::vector<AttendCall> attends;
    float* attended = ws.attended.reserve(static_cast<std::size_t>(n * c.heads * D));
    std::int32_t* selected =
        indexed ? ws.selected.reserve(static_cast<std::size_t>(n * c.index_top_k)) : nullptr;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        const auto& s = sequences[i];
        const KvState& kv = *s.state;
        const LayerLayout& state = kv.layout().layer(layer);
        std::byte* const* pages = kv.pages().addresses();
        RotaryView rotary = ws.rope.rows(ratio != 0, s.first);
        latents.push_back({s.start, s.count, ws.kv.data() + s.first * D, w.kv_norm.data(), c.norm_eps, rotary,
                           kv.layout().latent_format(), open[i].window});
        if (ratio)
            pools.push_back(compressor(c, w.compressor, state.compressed, s, ws.pool_kv, ws.pool_gate,
                                       open[i].kv, open[i].score, kv.layout().latent_format(), false, ws));
        if (indexed) {
            pools.push_back(compressor(c, w.indexer.compressor, state.index, s, ws.index_kv, ws.index_gate,
                                       open[i].index_kv, open[i].index_score, kv.layout().index_format(), true, ws));
            IndexCall call;
            call.start = s.start;
            call.rows = s.count;
            call.q = ws.index_q.data() + std::int64_t(s.first) * c.index_heads * c.index_head_dim;
            call.weights = ws.index_weights.data() + std::int64_t(s.first) * c.index_heads;
            call.rotary = rotary;
            call.heads = c.index_heads;
            call.ratio = ratio;
            call.format = kv.layout().index_format();
            call.keys = state.index.rows(pages);
            call.top_k = c.index_top_k;
            call.selected = selected + std::int64_t(s.first) * c.index_top_k;
            choices.push_back(call);
        }
        AttendCall call;
        call.start = s.start;
        call.rows = s.count;
        call.q = ws.q.data() + s.first * c.heads * D;
        call.out = attended + s.first * c.heads * D;
        call.rotary = rotary;
        call.heads = c.heads;
        call.format = kv.layout().latent_format();
        call.window_size = c.sliding_window;
        call.window = open[i].window;
        call.ratio = ratio;
        call.compressed = state.compressed.rows(pages);
        call.selected = indexed ? selected + std::int64_t(s.first) * c.index_top_k : nullptr;
        call.top_k = c.index_top_k;
        call.sinks = w.sinks.data();
        attends.push_back(call);
    }
    // A token that completes a group sees the group's row, so rows are pooled before anything attends.
    backend.latent(latents);
    backend.compress(pools);
    backend.index(choices);
    backend.attend(attends);
    close_rings(layer, sequences, open);

    // Output: each group of heads through its own low-rank matrix, then all together. [rows, heads, D] -> [rows, H]
    std::vector<Projection> grouped;
    float* output_low = ws.output_low.reserve(static_cast<std::size_t>(n * low));
    for (int g = 0; g < c.output_groups; ++g)
        grouped.push_back({&w.output_a[g], attended + g * w.output_a[g].columns, c.heads * D,
                           output_low + std::int64_t(g) * c.output_lora_rank, low});
    backend.project(grouped, rows);
    Projection output{&w.output_b, output_low, low, ws.out.reserve(static_cast<std::size_t>(n * H)), H};
    backend.project({&output, 1}, rows);
}

}  // namespace cachalot
