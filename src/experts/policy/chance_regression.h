// Weights of a linear estimate, learned while it is used: least squares over what was observed, older
// observations counting less, with a pull towards given weights that decides while little was seen (ridge
// regression).
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <span>

namespace cachalot {

template <std::size_t N>
class ChanceRegression {
  public:
    using Vector = std::array<double, N>;

    // prior: the weights before anything was seen; strength: the number of squares that it counts as
    ChanceRegression(const Vector& prior, double strength) : prior_(prior), strength_(strength) {}

    void fade(double factor) {
        for (auto& row : squares_)
            for (auto& v : row) v *= factor;
        for (auto& v : products_) v *= factor;
    }

    // Observes `features` of something that may happen (call for all of them), and that it did happen.
    void observe(const Vector& features) {
        for (std::size_t i = 0; i < N; ++i)
            for (std::size_t j = 0; j <= i; ++j) squares_[i][j] += features[i] * features[j];
    }
    void happened(const Vector& features) {
        for (std::size_t i = 0; i < N; ++i) products_[i] += features[i];
    }

    // The weights for the first n features alone; the others are 0. The matrix is positive definite because
    // of the prior, so that Cholesky's method needs no pivots.
    Vector weights(std::size_t n = N) const {
        std::array<Vector, N> factor{};  // lower triangle L with L L' = squares + strength
        Vector w{};
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j <= i; ++j) {
                double sum = squares_[i][j] + (i == j ? strength_ : 0);
                for (std::size_t k = 0; k < j; ++k) sum -= factor[i][k] * factor[j][k];
                factor[i][j] = i == j ? std::sqrt(sum) : sum / factor[j][j];
            }
            w[i] = products_[i] + strength_ * prior_[i];
            for (std::size_t k = 0; k < i; ++k) w[i] -= factor[i][k] * w[k];
            w[i] /= factor[i][i];
        }
        for (std::size_t i = n; i-- > 0;) {
            for (std::size_t k = i + 1; k < n; ++k) w[i] -= factor[k][i] * w[k];
            w[i] /= factor[i][i];
        }
        return w;
    }

  private:
    Vector prior_;
    double strength_;
    std::array<Vector, N> squares_{};  // lower triangle
    Vector products_{};
};

}  // namespace cachalot
