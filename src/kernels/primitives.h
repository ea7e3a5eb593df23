// The operations that the boxes of layers/backend.h are composed of, and the specification of what they
// compute.
//
// Two implementations exist: `reference` is scalar and follows the formulas line by line; `cpu` is what runs.
// Every operation of `cpu` is tested against `reference`. Neither knows anything of models.
//
// Conventions. All activations are float32, dense and row-major. `rows` counts tokens of the batch. S = 4
// streams, H = hidden size, D = head_dim. A result never depends on how many other rows are in the call.
#pragma once

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
// (layers/host_attention.cpp).
struct CompressCall {
    std::int64_t start = 0;       // position of the first new token
    int rows = 0;                 // new tokens
    const float* kv = nullptr;    // [rows, width]
    const float* gate = nullptr;  // [rows, width]
    const float* ape = nullptr;   // [ratio, width], added to the gate by position mod ratio
    int width = 0;                // floats per token: 2n with overlap, n without
    int ratio = 0;
    bool overlap = false;         // pool the previous group's first half with this group's second half
    RingView kv_state;            // [position] width floats; receives the new rows
    RingView score_state;         // the same, gate + ape
    const float* norm = nullptr;  // [n]
    float norm_eps = 1e-6f;
    const float* frequencies = nullptr;  // [R/2]
    bool hadamard = false;               // rotate the result by the Hadamard matrix (indexer keys)
    RowFormat format;                    // of the compressed rows; n = format.size
    PagedView out;                       // rows [start/ratio, (start+rows)/ratio) are written
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
    RowFormat format;  // f32, or fp4_key: then queries are rounded to FP4 as well
    PagedView keys;
    int top_k = 0;
    std::int32_t* selected =
        nullptr;  // [rows, top_k] ascending; filled only where more than top_k rows are visible
};

// Attention of the rows of one sequence over its window and its compressed rows.
struct AttendCall {
    std::int64_t start = 0;
    int rows = 0;
    const float* q = nullptr;  // [rows, heads, D]
    float* out = nullptr;      // [rows, heads, D], rotated back
    RotaryView rotary;
    int heads = 0;
    RowFormat format;
    int window_size = 0;
    RingView window;                         // holds positions start-window_size+1 .. start+rows-1
    int ratio = 0;                           // 0: window only
    PagedView compressed;                    // rows [0, (position+1)/ratio) are visible
    const std::int32_t* selected = nullptr;  // [rows, top_k], see IndexCall; null: all visible rows
    int top_k = 0;
    const float* sinks = nullptr;  // [heads]
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
    // RMS-normalised with `norm`), post [rows, S], comb [rows, S (source), S (destination)].
    virtual void hyper_connection_pre(const HyperConnectionWeights& weights,
                                      const HyperConnectionParams& params, const float* norm,
                                      const float* streams, int rows, float* x, float* post, float* comb) = 0;

    // streams[k] = post[k] * out + sum over j of comb[j][k] * streams[j]
    virtual void hyper_connection_post(const HyperConnectionParams& params, const float* out,
                                       const float* post, const float* comb, float* streams, int rows) = 0;

    // The collapse in front of the head: streams [rows, S, H] -> x [rows, H], normalised with `norm`.
    virtual void hyper_connection_head(const HyperConnectionWeights& weights,
                                       const HyperConnectionParams& params, const float* norm,
                                       const float* streams, int rows, float* x) = 0;

    // Independent matrix products over the same rows, done together.
    virtual void project(std::span<const Projection> projections, int rows) = 0;

    // x[row] = weight * x[row] / rms(x[row]), in place. x: [rows, n]
    virtual void rms_norm(float* x, const float* weight, float eps, int rows, int n) = 0;

    // Queries: every head is RMS-normalised without a weight, then its last R dims are rotated. q: [rows,
    // heads, D]
    virtual void query_heads(float* q, float eps, const RotaryView& rotary, int rows, int heads,
                             int head_dim) = 0;

    // One call per sequence of the batch; the calls of a span are independent of each other.
    virtual void latent(std::span<const LatentCall> calls) = 0;
    virtual void compress(std::span<const CompressCall> calls) = 0;
    virtual void index(std::span<const IndexCall> calls) = 0;
    virtual void attend(std::span<const AttendCall> calls) = 0;

    virtual void route(const RouteCall& call) = 0;
    // Throws what call.routed throws; y means nothing then.
    virtual void experts(const ExpertsCall& call) = 0;
};

std::unique_ptr<Primitives> make_reference_primitives();

}  // namespace cachalot
