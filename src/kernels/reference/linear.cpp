#include <cmath>
#include <vector>

#include "kernels/reference/reference.h"
#include "tensor/convert.h"

namespace cachalot::reference {

void project(const Projection& p, int rows) {
    const Matrix& w = *p.weight;
    std::vector<float> row(static_cast<std::size_t>(w.columns));
    for (std::int64_t n = 0; n < w.rows; ++n) {
        dequantize_row(w, n, row);
        for (int r = 0; r < rows; ++r) {
            const float* x = p.x + r * p.x_stride;
            double sum = 0;
            for (std::int64_t k = 0; k < w.columns; ++k) sum += static_cast<double>(row[k]) * x[k];
            p.y[r * p.y_stride + n] = static_cast<float>(sum);
        }
    }
}

// y = w * x / sqrt(mean(x^2) + eps)
void rms_norm(float* x, const float* weight, float eps, int n) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
    float inverse = static_cast<float>(1.0 / std::sqrt(sum / n + eps));
    for (int i = 0; i < n; ++i) x[i] = x[i] * inverse * (weight ? weight[i] : 1.0f);
}

// Interleaved pairs of the last 2*half of n values, as complex numbers, times e^(i angle); inverse: the
// conjugate.
void rotate(float* x, int n, const float* cosine, const float* sine, int half, bool inverse) {
    x += n - 2 * half;
    for (int i = 0; i < half; ++i) {
        float re = x[2 * i], im = x[2 * i + 1], c = cosine[i], s = inverse ? -sine[i] : sine[i];
        x[2 * i] = re * c - im * s;
        x[2 * i + 1] = re * s + im * c;
    }
}

}  // namespace cachalot::reference
