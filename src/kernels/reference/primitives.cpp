#include <algorithm>

#include "kernels/reference/reference.h"
#include "tensor/convert.h"

namespace cachalot {
namespace {

class ReferencePrimitives final : public Primitives {
  public:
    const char* name() const override { return "reference"; }
    std::string kernels() const override { return name(); }
    int threads() const override { return 1; }
    void for_each(int items, const std::function<void(int item)>& body) override {
        for (int i = 0; i < items; ++i) body(i);
    }

    void embed(const Matrix& table, std::span<const std::int32_t> tokens, float* streams) override {
        std::int64_t hidden = table.columns;
        for (std::int32_t token : tokens)
            for (int s = 0; s < 4; ++s, streams += hidden)
                dequantize_row(table, token, {streams, static_cast<std::size_t>(hidden)});
    }

    void hyper_connection_pre(const HyperConnectionWeights& w, const HyperConnectionParams& p,
                              const float* norm, const float* streams, int rows, float* x, float* post,
                              float* comb, float* delayed) override {
        for (std::int64_t r = 0; r < rows; ++r)
            reference::hyper_connection_pre(w, p, norm, streams + r * 4 * p.hidden, x + r * p.hidden,
                                            post + r * 4, comb + r * 16, delayed ? delayed + r * 4 : nullptr);
    }

    void hyper_connection_post(const HyperConnectionParams& p, const float* out, const float* post,
                               const float* comb, float* streams, int rows) override {
        for (std::int64_t r = 0; r < rows; ++r)
            reference::hyper_connection_post(p, out + r * p.hidden, post + r * 4, comb + r * 16,
                                             streams + r * 4 * p.hidden);
    }

    void hyper_connection_head(const HyperConnectionWeights& w, const HyperConnectionParams& p,
                               const float* norm, const float* streams, int rows, float* x,
                               const float* delayed) override {
        for (std::int64_t r = 0; r < rows; ++r)
            reference::hyper_connection_head(w, p, norm, streams + r * 4 * p.hidden, x + r * p.hidden,
                                             delayed ? delayed + r * 4 : nullptr);
    }

    void average(const float* streams, int hidden, int rows, float* y, std::int64_t y_stride) override {
        for (std::int64_t r = 0; r < rows; ++r)
            reference::average(streams + r * 4 * hidden, hidden, y + r * y_stride);
    }

    void engram(const EngramParams& p, const float* kv, float* streams, int rows) override {
        for (std::int64_t r = 0; r < rows; ++r)
            reference::engram(p, kv + r * 5 * p.hidden, streams + r * 4 * p.hidden);
    }

    void project(std::span<const Projection> projections, int rows) override {
        for (const auto& p : projections) reference::project(p, rows);
    }

    void rms_norm(float* x, const float* weight, float eps, int rows, int n) override {
        for (std::int64_t r = 0; r < rows; ++r) reference::rms_norm(x + r * n, weight, eps, n);
    }

    void query_heads(float* q, bool normalise, float eps, const RotaryView& rotary, int rows, int heads,
                     int head_dim) override {
        for (std::int64_t r = 0; r < rows; ++r)
            for (int h = 0; h < heads; ++h, q += head_dim) {
                if (normalise) reference::rms_norm(q, nullptr, eps, head_dim);
                reference::rotate(q, head_dim, rotary.cosine + r * rotary.half, rotary.sine + r * rotary.half,
                                  rotary.half, false);
            }
    }

    void latent(std::span<const LatentCall> calls) override { each(calls, reference::latent); }
    void compress(std::span<const CompressCall> calls) override { each(calls, reference::compress); }
    void keys(std::span<const KeyCall> calls) override { each(calls, reference::keys); }
    void index(std::span<const IndexCall> calls) override { each(calls, reference::index); }
    void attend(std::span<const AttendCall> calls) override { each(calls, reference::attend); }
    void route(const RouteCall& call) override { reference::route(call); }
    void experts(const ExpertsCall& call) override { reference::experts(call); }

  private:
    template <class Call>
    static void each(std::span<const Call> calls, void (*operation)(const Call&)) {
        std::for_each(calls.begin(), calls.end(), operation);
    }
};

}  // namespace

std::unique_ptr<Primitives> make_reference_primitives() { return std::make_unique<ReferencePrimitives>(); }

}  // namespace cachalot
