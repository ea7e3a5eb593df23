// Least recently used, of all layers together or of each layer by itself.
//
// LRU has a cliff. A token visits the layers one after the other and always in the same order; when the cache
// holds less than one token's experts, each is evicted shortly before it comes round again, and nothing ever
// hits. With a fixed share of slots for each layer the same happens only below one layer's experts.
//
// Experts of one layer count as used in the order of their numbers, whether they had to be read or not.
#include "experts/policy/score_policy.h"

namespace cachalot {
namespace {

class Lru final : public ScorePolicy {
  public:
    using ScorePolicy::ScorePolicy;

  protected:
    double score(ExpertKey) override { return 0; }  // of equals the least recently used leaves
    void count_selection(ExpertKey, int, bool) override {}
};

class LruPerLayer final : public ReplacementPolicy {
  public:
    explicit LruPerLayer(const CacheShape& shape)
        : shape_(shape),
          used_(static_cast<std::size_t>(shape.layers), 0),
          resident_(shape.keys(), false),
          last_use_(shape.keys(), 0) {}

    void on_select(ExpertKey key, int, bool) override { last_use_[key] = ++clock_; }

    bool must_evict(ExpertKey incoming) const override {
        const int layer = shape_.layer(incoming);
        return used_[static_cast<std::size_t>(layer)] >= share(layer);
    }

    ExpertKey victim(ExpertKey incoming, const Pins& pins) override {
        ExpertKey oldest = kNoKey;
        for (int e = 0; e < shape_.experts; ++e) {
            const ExpertKey key = shape_.key(shape_.layer(incoming), e);
            if (resident_[key] && !pins.pinned(key) &&
                (oldest == kNoKey || last_use_[key] < last_use_[oldest]))
                oldest = key;
        }
        return oldest;
    }

    void on_evict(ExpertKey key) override { set_resident(key, false); }
    void on_admit(ExpertKey key) override { set_resident(key, true); }

  private:
    // Slots of a layer; what cannot be divided evenly goes to the first layers.
    int share(int layer) const {
        return shape_.slots / shape_.layers + (layer < shape_.slots % shape_.layers ? 1 : 0);
    }
    void set_resident(ExpertKey key, bool resident) {
        resident_[key] = resident;
        used_[static_cast<std::size_t>(shape_.layer(key))] += resident ? 1 : -1;
    }

    CacheShape shape_;
    std::vector<int> used_;                // [layers], slots
    std::vector<bool> resident_;           // [keys]
    std::vector<std::uint64_t> last_use_;  // [keys]
    std::uint64_t clock_ = 0;
};

}  // namespace

std::unique_ptr<ReplacementPolicy> make_lru(const CacheShape& shape) { return std::make_unique<Lru>(shape); }

std::unique_ptr<ReplacementPolicy> make_lru_per_layer(const CacheShape& shape) {
    return std::make_unique<LruPerLayer>(shape);
}

}  // namespace cachalot
