// A backend that passes every call on to another: the base of those that watch.
#pragma once

#include <memory>
#include <utility>

#include "kernels/backend.h"

namespace cachalot {

class ForwardingBackend : public Backend {
  public:
    explicit ForwardingBackend(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

    const char* name() const override { return backend_->name(); }
    std::string kernels() const override { return backend_->kernels(); }
    int threads() const override { return backend_->threads(); }
    MachineLimits measure_limits(const ReadingTarget& memory) override {
        return backend_->measure_limits(memory);
    }
    double measure_reading(const ReadingTarget& memory) override { return backend_->measure_reading(memory); }
    std::int64_t synchronizations() const override { return backend_->synchronizations(); }

    void for_each(std::int64_t count, const std::function<void(std::int64_t)>& item) override {
        backend_->for_each(count, item);
    }
    void embed(const Matrix& table, std::span<const std::int32_t> tokens, float* streams) override {
        backend_->embed(table, tokens, streams);
    }
    void hyper_connection_pre(const HyperConnectionWeights& weights, const HyperConnectionParams& params,
                              const float* norm, const float* streams, int rows, float* x, float* post,
                              float* comb) override {
        backend_->hyper_connection_pre(weights, params, norm, streams, rows, x, post, comb);
    }
    void hyper_connection_post(const HyperConnectionParams& params, const float* out, const float* post,
                               const float* comb, float* streams, int rows) override {
        backend_->hyper_connection_post(params, out, post, comb, streams, rows);
    }
    void hyper_connection_head(const HyperConnectionWeights& weights, const HyperConnectionParams& params,
                               const float* norm, const float* streams, int rows, float* x) override {
        backend_->hyper_connection_head(weights, params, norm, streams, rows, x);
    }
    void project(std::span<const Projection> projections, int rows) override {
        backend_->project(projections, rows);
    }
    void rms_norm(float* x, const float* weight, float eps, int rows, int n) override {
        backend_->rms_norm(x, weight, eps, rows, n);
    }
    void query_heads(float* q, float eps, const RotaryView& rotary, int rows, int heads,
                     int head_dim) override {
        backend_->query_heads(q, eps, rotary, rows, heads, head_dim);
    }
    void latent(std::span<const LatentCall> calls) override { backend_->latent(calls); }
    void compress(std::span<const CompressCall> calls) override { backend_->compress(calls); }
    void index(std::span<const IndexCall> calls) override { backend_->index(calls); }
    void attend(std::span<const AttendCall> calls) override { backend_->attend(calls); }
    void route(const RouteCall& call) override { backend_->route(call); }
    void experts(const ExpertsCall& call) override { backend_->experts(call); }

  protected:
    std::unique_ptr<Backend> backend_;
};

}  // namespace cachalot
