// Manifold-constrained hyper-connections: the residual is four streams; a sub-layer reads a mixture of them
// and writes back through a 4x4 matrix that Sinkhorn iterations make (nearly) doubly stochastic, so that
// depth neither amplifies nor drowns a stream.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/reference/reference.h"
#include "tensor/convert.h"

namespace cachalot::reference {
namespace {

constexpr int S = 4;

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

// m = (fn v) / rms(v), v = the four streams as one vector [S*H]
std::vector<float> mixes(const HyperConnectionWeights& w, const HyperConnectionParams& p,
                         const float* streams) {
    std::int64_t n = static_cast<std::int64_t>(S) * p.hidden;
    std::vector<float> m(static_cast<std::size_t>(w.fn.rows));
    project({&w.fn, streams, n, m.data(), w.fn.rows}, 1);
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(streams[i]) * streams[i];
    float inverse = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(n) + p.norm_eps));
    for (float& v : m) v *= inverse;
    return m;
}

// x = norm(sum over j of pre[j] * streams[j]); without a norm: the sum
void collapse(const float* pre, const HyperConnectionParams& p, const float* norm, const float* streams,
              float* x) {
    for (int i = 0; i < p.hidden; ++i) {
        float sum = 0;
        for (int j = 0; j < S; ++j) sum += pre[j] * streams[j * p.hidden + i];
        x[i] = sum;
    }
    if (norm) rms_norm(x, norm, p.norm_eps, p.hidden);
}

// c[j][k], j = source, k = destination: softmax over k, then alternating normalisation, columns last.
void sinkhorn(float* c, int iterations, float eps) {
    auto normalise_rows = [&] {
        for (int j = 0; j < S; ++j) {
            float sum = eps;
            for (int k = 0; k < S; ++k) sum += c[S * j + k];
            for (int k = 0; k < S; ++k) c[S * j + k] /= sum;
        }
    };
    auto normalise_columns = [&] {
        for (int k = 0; k < S; ++k) {
            float sum = eps;
            for (int j = 0; j < S; ++j) sum += c[S * j + k];
            for (int j = 0; j < S; ++j) c[S * j + k] /= sum;
        }
    };
    for (int j = 0; j < S; ++j) {
        float* row = c + S * j;
        float largest = *std::max_element(row, row + S), sum = 0;
        for (int k = 0; k < S; ++k) sum += row[k] = std::exp(row[k] - largest);
        for (int k = 0; k < S; ++k) row[k] = row[k] / sum + eps;
    }
    normalise_columns();
    for (int i = 1; i < iterations; ++i) {
        normalise_rows();
        normalise_columns();
    }
}

}  // namespace

void hyper_connection_pre(const HyperConnectionWeights& w, const HyperConnectionParams& p, const float* norm,
                          const float* streams, float* x, float* post, float* comb, float* delayed) {
    auto m = mixes(w, p, streams);  // [pre 0..3 | post 4..7 | comb 8..23]
    float pre[S];
    for (int j = 0; j < S; ++j) pre[j] = sigmoid(m[j] * w.scale[0] + w.base[j]) + p.eps;
    for (int j = 0; j < S; ++j) post[j] = 2 * sigmoid(m[S + j] * w.scale[1] + w.base[S + j]);
    for (int i = 0; i < S * S; ++i) comb[i] = m[2 * S + i] * w.scale[2] + w.base[2 * S + i];
    sinkhorn(comb, p.sinkhorn_iterations, p.eps);
    collapse(delayed ? delayed : pre, p, norm, streams, x);
    if (delayed) std::copy_n(pre, S, delayed);
}

void hyper_connection_post(const HyperConnectionParams& p, const float* out, const float* post,
                           const float* comb, float* streams) {
    for (int i = 0; i < p.hidden; ++i) {
        float old[S];
        for (int j = 0; j < S; ++j) old[j] = streams[j * p.hidden + i];
        for (int k = 0; k < S; ++k) {
            float sum = post[k] * out[i];
            for (int j = 0; j < S; ++j) sum += comb[S * j + k] * old[j];
            streams[k * p.hidden + i] = sum;
        }
    }
}

void hyper_connection_head(const HyperConnectionWeights& w, const HyperConnectionParams& p, const float* norm,
                           const float* streams, float* x, const float* delayed) {
    if (delayed) return collapse(delayed, p, norm, streams, x);
    auto m = mixes(w, p, streams);
    float pre[S];
    for (int j = 0; j < S; ++j) pre[j] = sigmoid(m[j] * w.scale[0] + w.base[j]) + p.eps;
    collapse(pre, p, norm, streams, x);
}

void average(const float* streams, int hidden, float* y) {
    for (std::int64_t i = 0; i < hidden; ++i) {
        float sum = 0;
        for (int j = 0; j < S; ++j) sum += streams[j * std::int64_t(hidden) + i];
        y[i] = sum / S;
    }
}

// g_k = sigmoid(sign(d) sqrt(max(|d|, 1e-6))), d = norm(X_k; q_k) . norm(key_k; k_k) / sqrt(H)
// X_k += g_k value
void engram(const EngramParams& p, const float* kv, float* streams) {
    const int H = p.hidden;
    const float* value = kv + S * H;
    for (int k = 0; k < S; ++k) {
        float* x = streams + k * H;
        const float *key = kv + k * H, *q_weight = p.q + k * H, *k_weight = p.k + k * H;
        double dot = 0, x_squares = 0, key_squares = 0;
        for (int i = 0; i < H; ++i) {
            dot += static_cast<double>(x[i]) * (q_weight[i] * k_weight[i]) * key[i];
            x_squares += static_cast<double>(x[i]) * x[i];
            key_squares += static_cast<double>(key[i]) * key[i];
        }
        const double eps = p.norm_eps;
        dot /= std::sqrt(x_squares / H + eps) * std::sqrt(key_squares / H + eps) * std::sqrt(H);
        const auto gate =
            sigmoid(static_cast<float>(std::copysign(std::sqrt(std::max(std::fabs(dot), 1e-6)), dot)));
        for (int i = 0; i < H; ++i) x[i] += gate * value[i];
    }
}

}  // namespace cachalot::reference
