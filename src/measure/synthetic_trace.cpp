#include "measure/synthetic_trace.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/error.h"

namespace cachalot {
namespace {

class Generator {
  public:
    explicit Generator(const SyntheticTraceOptions& o)
        : o_(o),
          random_(o.seed),
          favourites_(static_cast<std::size_t>(o.layers)),
          last_(static_cast<std::size_t>(o.layers)) {
        double sum = 0;
        for (int r = 1; r <= o.experts; ++r) cumulative_.push_back(sum += std::pow(r, -o.zipf));
        for (auto& order : favourites_) {
            order.resize(static_cast<std::size_t>(o.experts));
            std::iota(order.begin(), order.end(), std::uint16_t(0));
            shuffle(order, order.size());
        }
    }

    // Exchanges the popularity of about half of the experts.
    void new_topic() {
        for (auto& order : favourites_) shuffle(order, order.size() / 3);
    }

    // One token's choices, [layers][top_k].
    std::vector<std::uint16_t> token() {
        std::vector<std::uint16_t> all;
        for (std::size_t layer = 0; layer < favourites_.size(); ++layer) {
            std::vector<std::uint16_t> chosen;
            auto choose = [&](std::uint16_t expert) {
                if (chosen.size() < static_cast<std::size_t>(o_.top_k) &&
                    std::find(chosen.begin(), chosen.end(), expert) == chosen.end())
                    chosen.push_back(expert);
            };
            for (const auto expert : last_[layer])
                if (uniform() < o_.repeat) choose(expert);
            // Popular experts soon occur twice only; after many attempts the order of favourites decides.
            for (int i = 0; i < 64 * o_.top_k; ++i) choose(favourites_[layer][draw()]);
            for (const auto expert : favourites_[layer]) choose(expert);
            last_[layer] = chosen;
            all.insert(all.end(), chosen.begin(), chosen.end());
        }
        return all;
    }

  private:
    // In [0, 1). Not std::uniform_real_distribution, whose sequence is not the same everywhere.
    double uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
    std::size_t below(std::size_t n) {
        return std::min(n - 1, static_cast<std::size_t>(uniform() * static_cast<double>(n)));
    }
    std::size_t draw() {
        const double x = uniform() * cumulative_.back();
        const auto at = std::upper_bound(cumulative_.begin(), cumulative_.end(), x) - cumulative_.begin();
        return std::min(static_cast<std::size_t>(at), cumulative_.size() - 1);
    }
    void shuffle(std::vector<std::uint16_t>& order, std::size_t swaps) {
        for (std::size_t i = 0; i < swaps; ++i) std::swap(order[i], order[below(order.size())]);
    }

    const SyntheticTraceOptions& o_;
    std::mt19937_64 random_;
    std::vector<double> cumulative_;                      // [experts], of the Zipf distribution
    std::vector<std::vector<std::uint16_t>> favourites_;  // [layers][experts]
    std::vector<std::vector<std::uint16_t>> last_;        // [layers], of the token before
};

}  // namespace

RouteTrace synthetic_trace(const SyntheticTraceOptions& o) {
    if (o.tokens < 1 || o.topics < 1 || o.tokens < o.topics || o.prompt < 0 || o.tokens > 1'000'000 ||
        o.prompt > 1'000'000)
        fail("synthetic trace: {} tokens, {} topics, prompts of {}", o.tokens, o.topics, o.prompt);
    if (!(o.zipf >= 0) || !(o.repeat >= 0 && o.repeat <= 1)) fail("synthetic trace: bad distribution");
    RouteTrace trace;
    trace.source = "synthetic";
    trace.header = {"synthetic", o.layers, o.experts, o.top_k, {}};
    if (o.layers > 0) trace.header.expert_bytes.assign(static_cast<std::size_t>(o.layers), o.expert_bytes);
    validate(trace.header, trace.source);
    Generator generator(o);
    const int length = o.tokens / o.topics;
    for (int topic = 0; topic < o.topics; ++topic) {
        if (topic > 0) generator.new_topic();
        const auto sequence = static_cast<std::uint32_t>(topic);
        for (int i = 0; i < o.prompt; ++i) trace.add({-1, sequence, true, i > 0}, generator.token());
        for (int i = 0; i < length; ++i) trace.add({-1, sequence, false, false}, generator.token());
    }
    return trace;
}

}  // namespace cachalot
