#include "kernels/tracing_primitives.h"

#include <algorithm>
#include <map>

#include "kernels/forwarding_primitives.h"

namespace cachalot {
namespace {

// Bytes and operations are those of the formulas: every weight and every cached row that an operation needs
// counts once for the call, whether or not a cache of the processor holds it; a product and a sum are two
// operations. What is small beside them (activations, norms, softmax) is not counted.
struct Count {
    std::int64_t bytes = 0, operations = 0;

    void product(const Matrix& m, std::int64_t rows) {
        bytes += m.bytes();
        operations += 2 * m.rows * m.columns * rows;
    }
};

class TracingPrimitives final : public ForwardingPrimitives {
  public:
    TracingPrimitives(std::unique_ptr<Primitives> primitives, Trace& trace)
        : ForwardingPrimitives(std::move(primitives)), trace_(trace) {}

    void embed(const Matrix& table, std::span<const std::int32_t> tokens, float* streams) override {
        record("embed", {}, [&] { primitives_->embed(table, tokens, streams); });
    }

    void hyper_connection_pre(const HyperConnectionWeights& weights, const HyperConnectionParams& params,
                              const float* norm, const float* streams, int rows, float* x, float* post,
                              float* comb, float* delayed) override {
        Count count;
        count.product(weights.fn, rows);
        record("hyper_connection_pre", count, [&] {
            primitives_->hyper_connection_pre(weights, params, norm, streams, rows, x, post, comb, delayed);
        });
    }

    void hyper_connection_post(const HyperConnectionParams& params, const float* out, const float* post,
                               const float* comb, float* streams, int rows) override {
        record("hyper_connection_post", {},
               [&] { primitives_->hyper_connection_post(params, out, post, comb, streams, rows); });
    }

    void hyper_connection_head(const HyperConnectionWeights& weights, const HyperConnectionParams& params,
                               const float* norm, const float* streams, int rows, float* x,
                               const float* delayed) override {
        Count count;
        if (!delayed) count.product(weights.fn, rows);
        record("hyper_connection_head", count,
               [&] { primitives_->hyper_connection_head(weights, params, norm, streams, rows, x, delayed); });
    }

    void average(const float* streams, int hidden, int rows, float* y, std::int64_t y_stride) override {
        record("average", {}, [&] { primitives_->average(streams, hidden, rows, y, y_stride); });
    }

    void engram(const EngramParams& params, const float* kv, float* streams, int rows) override {
        record("engram", {}, [&] { primitives_->engram(params, kv, streams, rows); });
    }

    void project(std::span<const Projection> projections, int rows) override {
        Count count;
        for (const auto& p : projections) count.product(*p.weight, rows);
        record("project", count, [&] { primitives_->project(projections, rows); });
    }

    void rms_norm(float* x, const float* weight, float eps, int rows, int n) override {
        record("rms_norm", {}, [&] { primitives_->rms_norm(x, weight, eps, rows, n); });
    }

    void query_heads(float* q, bool normalise, float eps, const RotaryView& rotary, int rows, int heads,
                     int head_dim) override {
        record("query_heads", {},
               [&] { primitives_->query_heads(q, normalise, eps, rotary, rows, heads, head_dim); });
    }

    void latent(std::span<const LatentCall> calls) override {
        record("latent", {}, [&] { primitives_->latent(calls); });
    }

    void compress(std::span<const CompressCall> calls) override {
        record("compress", {}, [&] { primitives_->compress(calls); });
    }

    void keys(std::span<const KeyCall> calls) override {
        record("keys", {}, [&] { primitives_->keys(calls); });
    }

    void index(std::span<const IndexCall> calls) override {
        Count count;
        for (const auto& c : calls)
            for (int r = 0; r < c.rows; ++r) {
                const std::int64_t visible = (c.start + r + 1) / c.ratio;
                if (visible > c.top_k) count.operations += 2 * visible * c.heads * c.format.size;
            }
        for (const auto& c : calls)
            if ((c.start + c.rows) / c.ratio > c.top_k)
                count.bytes += (c.start + c.rows) / c.ratio * c.format.bytes();
        record("index", count, [&] { primitives_->index(calls); });
    }

    void attend(std::span<const AttendCall> calls) override {
        Count count;
        for (const auto& c : calls) {
            std::int64_t window = 0, compressed = 0;  // rows
            for (int r = 0; r < c.rows; ++r) {
                window += c.newest(r) + 1 - c.oldest(r);
                if (!c.ratio) continue;
                const std::int64_t visible = (c.start + r + 1) / c.ratio;
                compressed += c.selected ? std::min<std::int64_t>(visible, c.top_k) : visible;
            }
            count.bytes += window * c.window_format.bytes() + compressed * c.compressed_format.bytes();
            count.operations += 4 * (window + compressed) * c.heads * c.window_format.size;
        }
        record("attend", count, [&] { primitives_->attend(calls); });
    }

    void route(const RouteCall& call) override {
        record("route", {}, [&] { primitives_->route(call); });
    }

    void experts(const ExpertsCall& call) override {
        Count count;
        auto add = [&](const ExpertWeights& e, std::int64_t rows) {
            for (const Matrix* m : {&e.gate, &e.up, &e.down}) count.product(*m, rows);
        };
        std::map<std::int32_t, std::int64_t> rows_of;
        for (std::int64_t i = 0; i < std::int64_t(call.rows) * call.top_k; ++i) ++rows_of[call.ids[i]];
        for (const auto& [expert, rows] : rows_of) add(call.routed->layout(expert), rows);
        add(*call.shared, call.rows);
        record("experts", count, [&] { primitives_->experts(call); });
    }

  private:
    template <class Call>
    void record(const char* name, const Count& count, const Call& call) {
        const Traced span(&trace_, name);
        const std::int64_t before = primitives_->synchronizations();
        call();
        trace_.count(count.bytes, count.operations, primitives_->synchronizations() - before);
    }

    Trace& trace_;
};

}  // namespace

std::unique_ptr<Primitives> make_tracing_primitives(std::unique_ptr<Primitives> primitives, Trace& trace) {
    return std::make_unique<TracingPrimitives>(std::move(primitives), trace);
}

}  // namespace cachalot
