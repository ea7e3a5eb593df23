// The attention boxes on a card; what they compute, layers/host_attention.cpp tells.
#include <algorithm>

#include "kernels/cuda/attend.h"
#include "kernels/cuda/attend_split.h"
#include "kernels/cuda/choose.h"
#include "kernels/cuda/remember.h"
#include "kernels/cuda/rows.h"
#include "layers/cuda_backend.h"

namespace cachalot {
namespace {

cuda::RingPlace place_of(const RowRing& ring) {
    return {ring.offset, ring.row_bytes, ring.keep, ring.row_bytes ? ring.capacity() : 0, 0};
}

cuda::PagePlace place_of(const CompressorLayout& layout) {
    return {layout.ratio, layout.row_bytes, layout.offset};
}

// Gives each ring a part of a sequence's scratch memory, for passes in which no sequence has more rows than
// `longest`, and returns the bytes of all parts.
std::int64_t divide_scratch(std::span<cuda::RingPlace* const> rings, int longest) {
    std::int64_t end = 0;
    for (cuda::RingPlace* ring : rings) {
        ring->scratch = end;
        if (ring->row_bytes) end += ring->scratch_rows(longest) * ring->row_bytes;
        end = (end + 63) / 64 * 64;
    }
    return end;
}

}  // namespace

CudaBackend::Rings CudaBackend::rings(int l) const {
    const LayerLayout& places = layout(l);
    Rings rings{place_of(places.window), place_of(places.compressed.kv), place_of(places.compressed.score),
                place_of(places.index.kv), place_of(places.index.score)};
    cuda::RingPlace* const all[] = {&rings.window, &rings.kv, &rings.score, &rings.index_kv,
                                    &rings.index_score};
    divide_scratch(all, batch_.view().longest);
    return rings;
}

std::int64_t CudaBackend::scratch_bytes(int longest) const {
    std::int64_t most = 0;
    for (const LayerLayout& places : pool_->layout().layers()) {
        cuda::RingPlace parts[] = {place_of(places.window), place_of(places.compressed.kv),
                                   place_of(places.compressed.score), place_of(places.index.kv),
                                   place_of(places.index.score)};
        cuda::RingPlace* const all[] = {&parts[0], &parts[1], &parts[2], &parts[3], &parts[4]};
        most = std::max(most, divide_scratch(all, longest));
    }
    return most;
}

// That a row of the pass may see.
std::int64_t CudaBackend::most_keys(int l) const {
    const LayerShape& shape = config_.shape(l);
    const std::int64_t rows = shape.ratio ? depth_ / shape.ratio : 0;
    return config_.sliding_window +
           (shape.index_source >= 0 ? std::min<std::int64_t>(rows, config_.index_top_k) : rows);
}

void CudaBackend::copy_rings(int l, bool open) {
    const Rings of_layer = rings(l);
    cuda::RingsCall call;
    call.batch = batch_.view();
    for (const auto& ring :
         {of_layer.window, of_layer.kv, of_layer.score, of_layer.index_kv, of_layer.index_score})
        if (ring.row_bytes) call.rings[call.count++] = ring;
    if (open)
        cuda::open_rings(call, handle());
    else
        cuda::close_rings(call, handle());
}

void CudaBackend::attention_input(int l) {
    box("attention_input", l, [&] {
        const AttentionWeights& w = layer(l).attention;
        const LayerShape& shape = config_.shape(l);
        const std::int64_t H = config_.hidden_size;
        mix(layer(l).attention_mix, layer(l).attention_norm);
        std::vector<Projection> from_x;
        const auto product = [&](const Matrix& m, const Buffer<float>& y) {
            from_x.push_back({&m, a_.x.address(), H, y.address(), m.rows});
        };
        product(w.q_a, a_.q_low);  // [rows, q_lora_rank]
        product(w.kv, a_.kv);      // [rows, D]
        if (shape.kv_source == l) {
            product(w.compressor.kv, a_.pool_kv);  // [rows, width]
            product(w.compressor.gate, a_.pool_gate);
        }
        if (shape.indexer) {
            product(w.indexer.weights, a_.index_weights);  // [rows, index_heads]
            product(w.indexer.compressor.kv, a_.index_kv);
            product(w.indexer.compressor.gate, a_.index_gate);
        }
        project(from_x, rows());
    });
}

void CudaBackend::remember(int l) {
    box("remember", l, [&] {
        const AttentionWeights& w = layer(l).attention;
        const LayerShape& shape = config_.shape(l);
        const Rings of_layer = rings(l);
        copy_rings(l, true);
        cuda::LatentCall latent;
        latent.batch = batch_.view();
        latent.kv = a_.kv.address();
        latent.norm = on_card_.floats(w.kv_norm);
        latent.norm_eps = config_.norm_eps;
        latent.rotary = rotary(shape.ratio != 0);
        latent.format = pool_->layout().window_format();
        latent.window = of_layer.window;
        cuda::latent(latent, handle());

        const auto compress = [&](const CompressorWeights& c, const CompressorLayout& places,
                                  const Buffer<float>& kv, const Buffer<float>& gate,
                                  const cuda::RingPlace& kv_ring, const cuda::RingPlace& score_ring,
                                  const RowFormat& format, bool hadamard) {
            cuda::CompressCall call;
            call.batch = batch_.view();
            call.kv = kv.address();
            call.gate = gate.address();
            call.ape = on_card_.floats(c.ape);
            call.width = static_cast<int>(c.kv.rows);
            call.ratio = places.ratio;
            call.overlap = places.overlap;
            call.kv_state = kv_ring;
            call.score_state = score_ring;
            call.norm = on_card_.floats(c.norm);
            call.norm_eps = config_.norm_eps;
            call.frequencies = frequencies(true);
            call.hadamard = hadamard;
            call.format = format;
            call.out = place_of(places);
            cuda::compress(call, handle());
        };
        if (shape.kv_source != l) return;
        compress(w.compressor, layout(l).compressed, a_.pool_kv, a_.pool_gate, of_layer.kv, of_layer.score,
                 pool_->layout().compressed_format(), false);
        if (shape.indexer)
            compress(w.indexer.compressor, layout(l).index, a_.index_kv, a_.index_gate, of_layer.index_kv,
                     of_layer.index_score, pool_->layout().index_format(), config_.index_hadamard);
    });
}

void CudaBackend::queries(int l) {
    box("queries", l, [&] {
        const Config& c = config_;
        const AttentionWeights& w = layer(l).attention;
        const LayerShape& shape = c.shape(l);
        cuda::rms_norm(a_.q_low.address(), on_card_.floats(w.q_norm), c.norm_eps, rows(), c.q_lora_rank,
                       handle());
        std::vector<Projection> from_q = {
            {&w.q_b, a_.q_low.address(), c.q_lora_rank, a_.q.address(), w.q_b.rows}};  // [rows, heads, D]
        if (shape.indexer)  // [rows, index_heads, index_head_dim]
            from_q.push_back({&w.indexer.q_b, a_.q_low.address(), c.q_lora_rank, a_.index_q.address(),
                              w.indexer.q_b.rows});
        project(from_q, rows());
        cuda::query_heads(a_.q.address(), c.query_head_norm, c.norm_eps, rotary(shape.ratio != 0), rows(),
                          c.heads, c.head_dim, handle());
    });
}

void CudaBackend::choose(int l) {
    if (!config_.shape(l).indexer) return;
    box("choose", l, [&] {
        const Config& c = config_;
        const LayerShape& shape = c.shape(l);
        cuda::ChooseCall call;
        call.batch = batch_.view();
        call.q = a_.index_q.address();
        call.weights = a_.index_weights.address();
        call.rotary = rotary(true);
        call.heads = c.index_heads;
        call.ratio = shape.ratio;
        call.hadamard = c.index_hadamard;
        call.format = pool_->layout().index_format();
        call.keys = place_of(layout(shape.kv_source).index);
        call.top_k = c.index_top_k;
        call.selected = a_.selected.address();
        call.scores = a_.scores.address();
        call.most_visible = call.score_stride = depth_ / shape.ratio;
        cuda::choose(call, handle());
    });
}

void CudaBackend::attend(int l) {
    box("attend", l, [&] {
        const Config& c = config_;
        const LayerShape& shape = c.shape(l);
        cuda::AttendCall call;
        call.batch = batch_.view();
        call.q = a_.q.address();
        call.out = a_.attended.address();  // [rows, heads, D]
        call.rotary = rotary(shape.ratio != 0);
        call.heads = c.heads;
        call.window_format = pool_->layout().window_format();
        call.compressed_format = pool_->layout().compressed_format();
        call.window_size = c.sliding_window;
        call.window = rings(l).window;
        call.ratio = shape.ratio;
        if (shape.ratio) call.compressed = place_of(layout(shape.kv_source).compressed);
        if (shape.index_source >= 0) call.selected = a_.selected.address();
        call.top_k = c.index_top_k;
        call.sinks = on_card_.floats(layer(l).attention.sinks);
        if (splits_attention() && cuda::can_split(call))
            cuda::attend_split(call, most_keys(l), a_.attend_parts.address(), handle());
        else
            cuda::attend(call, handle());
        copy_rings(l, false);
    });
}

// Each group of heads goes through its own low-rank matrix, then all together: [rows, heads, D] -> [rows, H].
void CudaBackend::attention_output(int l) {
    box("attention_output", l, [&] {
        const Config& c = config_;
        const AttentionWeights& w = layer(l).attention;
        const std::int64_t low = std::int64_t(c.output_groups) * c.output_lora_rank;
        std::vector<Projection> grouped;  // [rows, groups, output_lora_rank]
        for (int g = 0; g < c.output_groups; ++g) {
            const Matrix& a = w.output_a[static_cast<std::size_t>(g)];
            grouped.push_back({&a, a_.attended.address() + g * a.columns, std::int64_t(c.heads) * c.head_dim,
                               a_.output_low.address() + std::int64_t(g) * c.output_lora_rank, low});
        }
        project(grouped, rows());
        const Projection output{&w.output_b, a_.output_low.address(), low, a_.out.address(), c.hidden_size};
        project({&output, 1}, rows());
        spread();
    });
}

}  // namespace cachalot
