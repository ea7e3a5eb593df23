// The card that tests run on, and data on it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "device/buffer.h"
#include "device/cuda_device.h"
#include "kernels/cuda/grids.h"
#include "kernels/random_data.h"

// At the beginning of a test that needs a card.
#define CACHALOT_NEEDS_CARD() \
    if (cuda_cards().cards.empty()) GTEST_SKIP() << cuda_cards().problem

namespace cachalot::test {

inline std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

inline const std::shared_ptr<Device>& card() {
    static const std::shared_ptr<Device> device = make_cuda_device(0);
    return device;
}

inline Stream& card_stream() {
    static const std::unique_ptr<Stream> stream = card()->make_stream();
    return *stream;
}

inline CudaStreamHandle card_handle() { return cuda_handle(card_stream()); }

// Numbers on the card.
template <class T>
class OnCard {
  public:
    explicit OnCard(std::span<const T> values) : size_(values.size()) {
        copy(memory_.reserve(size_), values.data());
    }
    explicit OnCard(const std::vector<T>& values) : OnCard(std::span<const T>(values)) {}
    // So many, each of whose bytes is 0xff: of floats NaN, so that one that was not written is noticed.
    explicit OnCard(std::size_t size) : OnCard(poison(size)) {}

    T* address() const { return memory_.address(); }
    std::vector<T> fetch() const {
        std::vector<T> values(size_);
        copy(values.data(), memory_.address());
        return values;
    }

  private:
    static std::vector<T> poison(std::size_t size) {
        std::vector<T> values(size);
        if (size) std::memset(static_cast<void*>(values.data()), 0xff, size * sizeof(T));
        return values;
    }
    void copy(T* to, const T* from) const {
        card_stream().copy(reinterpret_cast<std::byte*>(to), reinterpret_cast<const std::byte*>(from),
                           size_ * sizeof(T));
        card_stream().synchronize();
    }

    std::size_t size_;
    Buffer<T> memory_{card()};
};

// A matrix on the card.
class MatrixOnCard {
  public:
    explicit MatrixOnCard(const RandomMatrix& m) : bytes_(m.bytes), scales_(m.scales), matrix_(m.matrix) {
        matrix_.data = bytes_.address();
        if (!m.scales.empty()) matrix_.scales = scales_.address();
    }
    const Matrix& matrix() const { return matrix_; }

  private:
    OnCard<std::byte> bytes_;
    OnCard<std::uint8_t> scales_;
    Matrix matrix_;
};

inline const cuda::Grids& grids_on_card() {
    static const OnCard<std::uint16_t> values(cuda::grid_values());
    static const cuda::Grids grids = cuda::grids_at(values.address());
    return grids;
}

// No number differs by more than `tolerance` times the largest magnitude of what is expected, and each is
// one.
inline void expect_near(std::span<const float> actual, std::span<const float> expected, double tolerance) {
    ASSERT_EQ(actual.size(), expected.size());
    double largest = 0, most = 0;
    std::size_t where = 0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
        ASSERT_FALSE(std::isnan(actual[i])) << "element " << i;
        largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
        const double difference = std::fabs(static_cast<double>(actual[i]) - expected[i]);
        if (difference > most) most = difference, where = i;
    }
    EXPECT_LE(most, tolerance * largest)
        << "element " << where << ": " << actual[where] << ", expected " << expected[where];
}

}  // namespace cachalot::test
