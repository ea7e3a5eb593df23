// The operations that the boxes of layers/backend.h are composed of, and the specification of what they
// compute.
//
// Two implementations exist: `reference` is scalar and follows the formulas line by line; `cpu` is what runs.
// Every operation of `cpu` is tested against `reference`. Neither knows anything of models.
//
// Conventions. All activations are float32, dense and row-major. `rows` counts tokens of the batch. S = 4
// streams, H = hidden size, D = head_dim. A result never depends on how many other rows are in the call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernels/activation_observer.h"
#include "kernels/expert_supply.h"
#include "kernels/views.h"
#include "tensor/matrix.h"

namespace cachalot {

// y[row, 0..w.rows) = w x[row]; strides in floats.
struct Projection {
    const Matrix* weight = nullptr;
    const float* x = nullptr;  // [rows, weight->columns]
    std::int64_t x_stride = 0;
    float* y = nullptr;  // [rows, weight->rows]
    std::int64_t y_stride = 0;
    bool float_inputs =
        false;  // x is not rounded, whatever the precision: where a small difference decides something
};

// The mixing parameters of one sub-layer (m = 24) or of the head (m = 4). S = 4.
struct HyperConnectionWeights {
    Matrix fn;                     // [m, S*H] f32 or f16
    const float* base = nullptr;   // [m]
    const float* scale = nullptr;  // [3] for a sub-layer: pre, post, comb; [1] for the head
};

struct HyperConnectionParams {
    int hidden = 0;
    int sinkhorn_iterations = 20;
    float eps = 1e-6f;       // of the mixing
    float norm_eps = 1e-6f;  // of the RMS statistics
};

// The gates of an Engram layer.
struct EngramParams {
    int hidden = 0;
    float norm_eps = 1e-6f;
    const float *q = nullptr, *k = nullptr;  // [S, H] weights of streams and keys
};

// Keys and values of new tokens: norm, rotation, rounding to `format`, stored by position in the window.
struct LatentCall {
    std::int64_t start = 0;  // position of the first row
    int rows = 0;
    const float* kv = nullptr;    // [rows, D]
    const float* norm = nullptr;  // [D]
    float norm_eps = 1e-6f;
    RotaryView rotary;  // of the rows
    RowFormat format;
    RingView window;
};

// Learned pooling of token rows into compressed rows, see HostBackend::compressor
// (layers/host_attention.cpp). A ratio of 1 pools nothing: a token's row is its kv.
struct CompressCall {
    std::int64_t start = 0;       // position of the first new token
    int rows = 0;                 // new tokens
    const float* kv = nullptr;    // [rows, width]
    const float* gate = nullptr;  // [rows, width]; null at ratio 1
    const float* ape = nullptr;   // [ratio, width], added to the gate by position mod ratio; may be null
    int width = 0;                // floats per token: 2n with overlap, n without
    int ratio = 0;
    bool overlap = false;         // pool the previous group's first half with this group's second half
    RingView kv_state;            // [position] width floats; receives the new rows; unused at ratio 1
    RingView score_state;         // the same, gate + ape
    const float* norm = nullptr;  // [n]
    float norm_eps = 1e-6f;
    const float* frequencies = nullptr;  // [R/2]
    bool hadamard = false;               // rotate the result by the Hadamard matrix (indexer keys)
    RowFormat format;                    // of the compressed rows; n = format.size
    PagedView out;                       // rows [start/ratio, (start+rows)/ratio) are written
    float* latents = nullptr;            // [those rows, n] as they are before the rotation; null: not wanted
};

// Keys of the indexer that were made of compressed rows: norm, rotation to the row's first token, rounding.
struct KeyCall {
    std::int64_t first = 0;  // compressed row of the first key
    int rows = 0;
    float* keys = nullptr;        // [rows, n]; changed
    const float* norm = nullptr;  // [n]
    float norm_eps = 1e-6f;
    int ratio = 0;
    const float* frequencies = nullptr;  // [R/2]
    RowFormat format;                    // n = format.size
    PagedView out;                       // rows [first, first + rows) are written
};

// Blocks of neighbouring compressed rows that later indexers keep to. The score of a block is the best of its
// visible rows; the newest visible row's block always counts as best. Where all visible blocks would be
// candidates nothing is written, and everything is a candidate.
struct Candidates {
    std::int32_t* blocks = nullptr;  // [rows, most] ascending; null: everything is a candidate
    int most = 0;
    int block_size = 0;  // compressed rows

    // Whether a query that sees so many rows keeps to candidates.
    bool restrict(std::int64_t visible) const {
        return blocks && (visible + block_size - 1) / block_size > most;
    }
};

// Scoring of compressed rows by the indexer and choice of the best, for the rows of one sequence.
struct IndexCall {
    std::int64_t start = 0;
    int rows = 0;
    float* q = nullptr;              // [rows, heads, n]; rotated and Hadamard-transformed in place
    const float* weights = nullptr;  // [rows, heads]
    RotaryView rotary;               // of the rows
    int heads = 0;
    int ratio = 0;
    bool hadamard = true;
    RowFormat format;  // f32, or fp4_key: then queries are rounded to FP4 as well
    PagedView keys;
    int top_k = 0;
    std::int32_t* selected =
        nullptr;  // [rows, top_k] ascending; filled only where more than top_k rows are visible
    Candidates candidates;
    bool make_candidates = false;  // else the choice keeps to them
};

// Attention of the rows of one sequence over its window and its compressed rows.
struct AttendCall {
    std::int64_t start = 0;
    int rows = 0;
    const float* q = nullptr;  // [rows, heads, D]
    float* out = nullptr;      // [rows, heads, D], rotated back
    RotaryView rotary;
    int heads = 0;
    RowFormat window_format, compressed_format;
    int window_size = 0;
    RingView window;                // holds all positions that a row sees
    std::int64_t window_first = 0;  // but none before this one
    bool block = false;    // every row sees all rows of the call, and window_size positions before them
    int ratio = 0;         // 0: window only
    PagedView compressed;  // rows [0, (position+1)/ratio) are visible
    const std::int32_t* selected = nullptr;  // [rows, top_k], see IndexCall; null: all visible rows
    int top_k = 0;
    const float* sinks = nullptr;  // [heads]

    // The first and the last position in the window that row `r` sees.
    std::int64_t oldest(int r) const {
        return std::max(window_first, block ? start - window_size : start + r - window_size + 1);
    }
    std::int64_t newest(int r) const { return start + (block ? rows - 1 : r); }
};

struct RouteCall {
    int rows = 0;
    const float* logits = nullptr;  // [rows, experts] = gate x
    int experts = 0;
    int top_k = 0;
    const float* bias = nullptr;           // [experts], for selection only; null in hash layers
    const std::int32_t* table = nullptr;   // [vocab, top_k] expert ids by token id; null in learned layers
    const std::int32_t* tokens = nullptr;  // [rows]
    float scale = 1.0f;
    std::int32_t* ids = nullptr;  // [rows, top_k]
    float* weights = nullptr;     // [rows, top_k]
};

struct ExpertsCall {
    int rows = 0;
    const float* x = nullptr;  // [rows, H]
    float* y = nullptr;        // [rows, H], overwritten
    int top_k = 0;
    const std::int32_t* ids = nullptr;  // [rows, top_k]
    const float* weights = nullptr;     // [rows, top_k]
    ExpertSupply* routed = nullptr;     // of those named by ids
    const ExpertWeights* shared = nullptr;
    float limit = 0, shared_limit = 0;
    ActivationObserver* observer = nullptr;  // is told the inputs of every `down`
};

class Primitives {
  public:
    virtual ~Primitives() = default;

    virtual const char* name() const = 0;  // for people: "cpu avx2 x2"
    // "cpu avx2": those with the same kernels compute the same numbers, whatever their threads.
    virtual std::string kernels() const = 0;
    virtual int threads() const = 0;
    // Calls body(0) .. body(items - 1), in any order and on any of the threads.
    virtual void for_each(int items, const std::function<void(int item)>& body) = 0;
    // How often all threads were waited for so far.
    virtual std::int64_t synchronizations() const { return 0; }

    // x[row] = the token's embedding, repeated in the four streams. streams: [rows, S, H]
    virtual void embed(const Matrix& table, std::span<const std::int32_t> tokens, float* streams) = 0;

    // The mixing in front of a sub-layer, with its norm. streams [rows, S, H] -> x [rows, H] (collapsed and
    // RMS-normalised with `norm`), post [rows, S], comb [rows, S (source), S (destination)]. With `delayed`
    // [rows, S] the streams are collapsed with these weights, and the own ones are left there for the next
    // sub-layer.
    virtual void hyper_connection_pre(const HyperConnectionWeights& weights,
                                      const HyperConnectionParams& params, const float* norm,
                                      const float* streams, int rows, float* x, float* post, float* comb,
                                      float* delayed = nullptr) = 0;

    // streams[k] = post[k] * out + sum over j of comb[j][k] * streams[j]
    virtual void hyper_connection_post(const HyperConnectionParams& params, const float* out,
                                       const float* post, const float* comb, float* streams, int rows) = 0;

    // The collapse in front of the head: streams [rows, S, H] -> x [rows, H], normalised with `norm` unless
    // that is null. With `delayed` [rows, S], with these weights; then `weights` are not read.
    virtual void hyper_connection_head(const HyperConnectionWeights& weights,
                                       const HyperConnectionParams& params, const float* norm,
                                       const float* streams, int rows, float* x,
                                       const float* delayed = nullptr) = 0;

    // y[row, 0..H) = the mean of the streams [rows, S, H]; stride in floats.
    virtual void average(const float* streams, int hidden, int rows, float* y, std::int64_t y_stride) = 0;

    // What an Engram layer adds to the streams [rows, S, H]: each takes a share of the value that depends on
    // how well its key fits. kv: [rows, S + 1, H], a key for each stream and the value.
    virtual void engram(const EngramParams& params, const float* kv, float* streams, int rows) = 0;

    // Independent matrix products over the same rows, done together.
    virtual void project(std::span<const Projection> projections, int rows) = 0;

    // x[row] = weight * x[row] / rms(x[row]), in place. x: [rows, n]
    virtual void rms_norm(float* x, const float* weight, float eps, int rows, int n) = 0;

    // Queries: every head is RMS-normalised without a weight, if `normalise`, then its last R dims are
    // rotated. q: [rows, heads, D]
    virtual void query_heads(float* q, bool normalise, float eps, const RotaryView& rotary, int rows,
                             int heads, int head_dim) = 0;

    // One call per sequence of the batch; the calls of a span are independent of each other.
    virtual void latent(std::span<const LatentCall> calls) = 0;
    virtual void compress(std::span<const CompressCall> calls) = 0;
    virtual void keys(std::span<const KeyCall> calls) = 0;
    virtual void index(std::span<const IndexCall> calls) = 0;
    virtual void attend(std::span<const AttendCall> calls) = 0;

    virtual void route(const RouteCall& call) = 0;
    // Throws what call.routed throws; y means nothing then.
    virtual void experts(const ExpertsCall& call) = 0;
};

std::unique_ptr<Primitives> make_reference_primitives();

}  // namespace cachalot
