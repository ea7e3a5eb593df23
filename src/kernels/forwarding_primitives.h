// Primitives that pass every call on to another: the base of those that watch.
#pragma once

#include <memory>
#include <utility>

#include "kernels/primitives.h"

namespace cachalot {

class ForwardingPrimitives : public Primitives {
  public:
    explicit ForwardingPrimitives(std::unique_ptr<Primitives> primitives)
        : primitives_(std::move(primitives)) {}

    const char* name() const override { return primitives_->name(); }
    std::string kernels() const override { return primitives_->kernels(); }
    int threads() const override { return primitives_->threads(); }
    void for_each(int items, const std::function<void(int item)>& body) override {
        primitives_->for_each(items, body);
    }
    std::int64_t synchronizations() const override { return primitives_->synchronizations(); }

    void embed(const Matrix& table, std::span<const std::int32_t> tokens, float* streams) override {
        primitives_->embed(table, tokens, streams);
    }
    void hyper_connection_pre(const HyperConnectionWeights& weights, const HyperConnectionParams& params,
                              const float* norm, const float* streams, int rows, float* x, float* post,
                              float* comb, float* delayed) override {
        primitives_->hyper_connection_pre(weights, params, norm, streams, rows, x, post, comb, delayed);
    }
    void hyper_connection_post(const HyperConnectionParams& params, const float* out, const float* post,
                               const float* comb, float* streams, int rows) override {
        primitives_->hyper_connection_post(params, out, post, comb, streams, rows);
    }
    void hyper_connection_head(const HyperConnectionWeights& weights, const HyperConnectionParams& params,
                               const float* norm, const float* streams, int rows, float* x,
                               const float* delayed) override {
        primitives_->hyper_connection_head(weights, params, norm, streams, rows, x, delayed);
    }
    void average(const float* streams, int hidden, int rows, float* y, std::int64_t y_stride) override {
        primitives_->average(streams, hidden, rows, y, y_stride);
    }
    void engram(const EngramParams& params, const float* kv, float* streams, int rows) override {
        primitives_->engram(params, kv, streams, rows);
    }
    void project(std::span<const Projection> projections, int rows) override {
        primitives_->project(projections, rows);
    }
    void rms_norm(float* x, const float* weight, float eps, int rows, int n) override {
        primitives_->rms_norm(x, weight, eps, rows, n);
    }
    void query_heads(float* q, bool normalise, float eps, const RotaryView& rotary, int rows, int heads,
                     int head_dim) override {
        primitives_->query_heads(q, normalise, eps, rotary, rows, heads, head_dim);
    }
    void latent(std::span<const LatentCall> calls) override { primitives_->latent(calls); }
    void compress(std::span<const CompressCall> calls) override { primitives_->compress(calls); }
    void keys(std::span<const KeyCall> calls) override { primitives_->keys(calls); }
    void index(std::span<const IndexCall> calls) override { primitives_->index(calls); }
    void attend(std::span<const AttendCall> calls) override { primitives_->attend(calls); }
    void route(const RouteCall& call) override { primitives_->route(call); }
    void experts(const ExpertsCall& call) override { primitives_->experts(call); }

  protected:
    std::unique_ptr<Primitives> primitives_;
};

}  // namespace cachalot
