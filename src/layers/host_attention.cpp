// The attention boxes on the host: window attention over one latent per token, with compressed rows of the
// older tokens in CSA layers (those that the indexer chooses) and HCA layers (all).
#include "layers/host_backend.h"

#include <cstring>

namespace cachalot {
namespace {

// Where the rings of a layer meet their views; `use(ring, view)`.
template <class Open, class Use>
void each_ring(const LayerLayout& layout, Open& open, const Use& use) {
    use(layout.window, open.window);
    auto pair = [&](const CompressorLayout& compressor, RingView& kv, RingView& score) {
        if (compressor.kv.row_bytes == 0) return;
        use(compressor.kv, kv);
        use(compressor.score, score);
    };
    pair(layout.compressed, open.kv, open.score);
    pair(layout.index, open.index_kv, open.index_score);
}

}  // namespace

void HostBackend::open_rings(int l) {
    const auto sequences = batch_.sequences();
    open_.resize(sequences.size());
    std::size_t next = 0;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        const SequenceRows& s = sequences[i];
        OpenRings& open = open_[i];
        if (s.context_of >= 0) {  // opened before, as context is behind
            open = open_[static_cast<std::size_t>(s.context_of)];
            open.count = 0;
            continue;
        }
        const std::int64_t ahead = batch_.context_left() ? 0 : s.ahead;
        open.start = s.start - ahead;
        open.count = s.count + ahead;
        each_ring(layout(l), open, [&](const RowRing& ring, RingView& view) {
            if (next == a_.rings.size()) a_.rings.emplace_back(a_.device);
            auto* scratch = a_.rings[next++].reserve(
                static_cast<std::size_t>(ring.scratch_rows(open.count) * ring.row_bytes));
            view = ring.open(s.slab, open.start, open.count, scratch);
        });
    }
}

void HostBackend::close_rings(int l, std::size_t first_sequence) {
    const auto sequences = batch_.sequences();
    for (std::size_t i = first_sequence; i < sequences.size(); ++i) {
        OpenRings& open = open_[i];
        if (open.count == 0) continue;
        each_ring(layout(l), open, [&](const RowRing& ring, const RingView& view) {
            ring.close(sequences[i].slab, view, open.start, open.count);
        });
    }
}

void HostBackend::attention_input(int l) {
    box("attention_input", l, [this, l] {
        const AttentionWeights& w = layer(l).attention;
        const LayerShape& shape = config_.shape(l);
        collapse(layer(l).attention_mix, layer(l).attention_norm);
        std::vector<Projection> from_x = {product(w.q_a, a_.x, a_.q_low),  // [rows, q_lora_rank]
                                          product(w.kv, a_.x, a_.kv)};     // [rows, D]
        auto pooled = [&](const CompressorWeights& c, Buffer<float>& kv, Buffer<float>& gate) {
            from_x.push_back(product(c.kv, a_.x, kv));  // [rows, width]
            if (c.gate.rows) from_x.push_back(product(c.gate, a_.x, gate));
        };
        if (shape.kv_source == l) pooled(w.compressor, a_.pool_kv, a_.pool_gate);
        if (shape.indexer)
            from_x.push_back(product(w.indexer.weights, a_.x, a_.index_weights));  // [rows, index_heads]
        if (shape.indexer && config_.index_compressor)
            pooled(w.indexer.compressor, a_.index_kv, a_.index_gate);
        primitives_.project(from_x, batch_.rows());
    });
}

void HostBackend::queries(int l) {
    box("queries", l, [this, l] {
        const Config& c = config_;
        const AttentionWeights& w = layer(l).attention;
        const LayerShape& shape = c.shape(l);
        const int n = batch_.rows();
        primitives_.rms_norm(a_.q_low.address(), w.q_norm.data(), c.norm_eps, n, c.q_lora_rank);
        std::vector<Projection> from_q = {product(w.q_b, a_.q_low, a_.q)};  // [rows, heads, D]
        if (shape.indexer)
            from_q.push_back(
                product(w.indexer.q_b, a_.q_low, a_.index_q));  // [rows, index_heads, index_head_dim]
        primitives_.project(from_q, n);
        primitives_.query_heads(a_.q.address(), c.query_head_norm, c.norm_eps,
                                rope_.rows(shape.ratio != 0, 0), n, c.heads, c.head_dim);
    });
}

// A learned, per-channel softmax pooling of each group's tokens into one row. Used for the latent rows of
// layers with a ratio and, narrower and Hadamard-rotated, for the indexer's keys.
CompressCall HostBackend::compressor(const CompressorWeights& w, const CompressorLayout& layout,
                                     const SequenceRows& s, const Buffer<float>& kv,
                                     const Buffer<float>& gate, const RingView& kv_ring,
                                     const RingView& score_ring, const RowFormat& format) {
    CompressCall call;
    call.start = s.start;
    call.rows = s.count;
    call.width = static_cast<int>(w.kv.rows);
    call.kv = kv.address() + std::int64_t(s.first) * call.width;
    if (w.gate.rows) call.gate = gate.address() + std::int64_t(s.first) * call.width;
    if (!w.ape.empty()) call.ape = w.ape.data();
    call.ratio = layout.ratio;
    call.overlap = layout.overlap;
    call.kv_state = kv_ring;
    call.score_state = score_ring;
    call.norm = w.norm.data();
    call.norm_eps = config_.norm_eps;
    call.frequencies = rope_.frequencies(true);
    call.format = format;
    call.out = layout.rows(s.pages);
    return call;
}

void HostBackend::remember(int l) {
    box("remember", l, [this, l] {
        const AttentionWeights& w = layer(l).attention;
        const LayerShape& shape = config_.shape(l);
        const LayerLayout& places = layout(l);
        open_rings(l);
        std::vector<LatentCall> latents;
        std::vector<CompressCall> pools;
        std::vector<KeyCall> keys;
        const bool keeps_rows = shape.kv_source == l, keys_of_rows = keeps_rows && !config_.index_compressor;
        float* latent = keys_of_rows ? room(a_.latents, config_.head_dim) : nullptr;
        float* key = keys_of_rows ? room(a_.keys, config_.index_head_dim) : nullptr;
        int new_rows = 0;
        const auto sequences = batch_.sequences();
        for (std::size_t i = sequences.size(); i-- > 0;) {  // context before what follows it
            const SequenceRows& s = sequences[i];
            const OpenRings& open = open_[i];
            latents.push_back({s.start, s.count, a_.kv.address() + std::int64_t(s.first) * config_.head_dim,
                               w.kv_norm.data(), config_.norm_eps, rope_.rows(shape.ratio != 0, s.first),
                               layout_.window_format(), open.window});
            if (!keeps_rows) continue;
            pools.push_back(compressor(w.compressor, places.compressed, s, a_.pool_kv, a_.pool_gate, open.kv,
                                       open.score, layout_.compressed_format()));
            if (keys_of_rows) {
                const auto first = s.start / shape.ratio;
                const auto count = static_cast<int>((s.start + s.count) / shape.ratio - first);
                pools.back().latents = latent + std::int64_t(new_rows) * config_.head_dim;
                keys.push_back({first, count, key + std::int64_t(new_rows) * config_.index_head_dim,
                                w.indexer.k_norm.data(), config_.norm_eps, shape.ratio,
                                rope_.frequencies(true), layout_.index_format(), places.index.rows(s.pages)});
                new_rows += count;
            } else if (shape.indexer) {
                pools.push_back(compressor(w.indexer.compressor, places.index, s, a_.index_kv, a_.index_gate,
                                           open.index_kv, open.index_score, layout_.index_format()));
                pools.back().hadamard = config_.index_hadamard;
            }
        }
        // A token that completes a group sees the group's row, so rows are pooled before anything attends.
        primitives_.latent(latents);
        primitives_.compress(pools);
        if (new_rows == 0) return;
        Projection of_rows{&w.indexer.k, latent, config_.head_dim, key, config_.index_head_dim};
        primitives_.project({&of_rows, 1}, new_rows);  // [new rows, D] -> [new rows, index_head_dim]
        primitives_.keys(keys);
    });
}

// Rows of context stand behind all others, so that those stay where they are. Layers behind this one will
// know nothing of the tokens; their windows are cleared, since what is left in them is of other tokens.
void HostBackend::leave_context(int l) {
    if (l != config_.context_layers_end()) return;
    box("leave_context", l, [this, l] {
        const std::size_t others = batch_.sequences_beyond_context();
        close_rings(l, others);
        for (const SequenceRows& s : batch_.sequences().subspan(others))
            for (int next = l + 1; next < range_.last; ++next) {
                const RowRing& window = layout(next).window;
                std::memset(s.slab + window.offset, 0, static_cast<std::size_t>(window.bytes()));
            }
        batch_.leave_context();
    });
}

void HostBackend::choose(int l) {
    if (!config_.shape(l).indexer) return;
    box("choose", l, [this, l] {
        const Config& c = config_;
        std::int32_t* selected =
            a_.selected.reserve(rows() * static_cast<std::size_t>(c.index_top_k));  // [rows, index_top_k]
        const LayerShape& shape = c.shape(l);
        const bool candidates = shape.candidate_source >= 0;
        if (candidates)  // [rows, candidate_blocks]
            a_.candidates.reserve(rows() * static_cast<std::size_t>(c.candidate_blocks));
        std::vector<IndexCall> calls;
        for (const SequenceRows& s : batch_.sequences()) {
            const std::int64_t first = s.first;
            IndexCall call;
            call.start = s.start;
            call.rows = s.count;
            call.q = a_.index_q.address() + first * c.index_heads * c.index_head_dim;
            call.weights = a_.index_weights.address() + first * c.index_heads;
            call.rotary = rope_.rows(true, s.first);
            call.heads = c.index_heads;
            call.ratio = shape.ratio;
            call.hadamard = c.index_hadamard;
            call.format = layout_.index_format();
            call.keys = layout(shape.kv_source).index.rows(s.pages);
            call.top_k = c.index_top_k;
            call.selected = selected + first * c.index_top_k;
            if (candidates)
                call.candidates = {a_.candidates.address() + first * c.candidate_blocks, c.candidate_blocks,
                                   c.candidate_block_size};
            call.make_candidates = shape.candidate_source == l;
            calls.push_back(call);
        }
        primitives_.index(calls);
    });
}

void HostBackend::attend(int l) {
    box("attend", l, [this, l] {
        const Config& c = config_;
        const LayerShape& shape = c.shape(l);
        const std::int64_t row_size = std::int64_t(c.heads) * c.head_dim;
        float* attended = room(a_.attended, row_size);  // [rows, heads, D]
        std::vector<AttendCall> calls;
        for (std::size_t i = 0; const SequenceRows& s : batch_.sequences()) {
            AttendCall call;
            call.start = s.start;
            call.rows = s.count;
            call.q = a_.q.address() + s.first * row_size;
            call.out = attended + s.first * row_size;
            call.rotary = rope_.rows(shape.ratio != 0, s.first);
            call.heads = c.heads;
            call.window_format = layout_.window_format();
            call.compressed_format = layout_.compressed_format();
            call.window_size = c.sliding_window;
            if (l > c.context_layers_end()) call.window_first = s.context_end;
            if (is_drafter()) {
                call.window_first = s.draft_begin + mtp();  // its rows are also made of the token before
                call.block = !mtp();  // a block is not known yet, so nothing of it is hidden
            }
            call.window = open_[i++].window;
            call.ratio = shape.ratio;
            if (shape.ratio) call.compressed = layout(shape.kv_source).compressed.rows(s.pages);
            if (shape.index_source >= 0)  // as chosen by this layer or one before
                call.selected = a_.selected.address() + std::int64_t(s.first) * c.index_top_k;
            call.top_k = c.index_top_k;
            call.sinks = layer(l).attention.sinks.data();
            calls.push_back(call);
        }
        primitives_.attend(calls);
        close_rings(l);
    });
}

// Each group of heads goes through its own low-rank matrix, then all together: [rows, heads, D] -> [rows, H].
void HostBackend::attention_output(int l) {
    box("attention_output", l, [this, l] {
        const Config& c = config_;
        const AttentionWeights& w = layer(l).attention;
        const std::int64_t low = std::int64_t(c.output_groups) * c.output_lora_rank;
        float* output_low = room(a_.output_low, low);  // [rows, groups, output_lora_rank]
        std::vector<Projection> grouped;
        for (int g = 0; g < c.output_groups; ++g)
            grouped.push_back({&w.output_a[static_cast<std::size_t>(g)],
                               a_.attended.address() + g * w.output_a[static_cast<std::size_t>(g)].columns,
                               std::int64_t(c.heads) * c.head_dim,
                               output_low + std::int64_t(g) * c.output_lora_rank, low});
        primitives_.project(grouped, batch_.rows());
        Projection output = product(w.output_b, a_.output_low, a_.out);
        primitives_.project({&output, 1}, batch_.rows());
        spread();
    });
}

}  // namespace cachalot
