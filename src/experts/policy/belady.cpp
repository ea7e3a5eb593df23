// Belady's policy (L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM
// Systems Journal 5(2), 1966): evict what is needed last. It has to know the future, so it is no policy for
// use but the bound that the others are measured against: among policies that keep what they read, none has
// fewer misses.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "experts/policy/replacement_policy.h"

namespace cachalot {
namespace {

class Belady final : public ReplacementPolicy {
  public:
    Belady(const CacheShape& shape, const std::vector<ExpertKey>& future)
        : next_(future.size()), next_use_(shape.keys(), kNever) {
        for (std::size_t i = future.size(); i-- > 0;) {
            next_[i] = next_use_[future[i]];
            next_use_[future[i]] = i;
        }
    }

    void on_select(ExpertKey key, int, bool resident) override {
        CACHALOT_CHECK(now_ < next_.size() && next_use_[key] == now_);
        if (resident) by_next_use_.erase({next_use_[key], key});
        next_use_[key] = next_[now_++];
        if (resident) by_next_use_.insert({next_use_[key], key});
    }

    ExpertKey victim(ExpertKey, const Pins& pins) override {
        const auto last = std::find_if(by_next_use_.rbegin(), by_next_use_.rend(),
                                       [&](const Entry& e) { return !pins.pinned(e.second); });
        return last == by_next_use_.rend() ? kNoKey : last->second;
    }

    void on_evict(ExpertKey key) override { by_next_use_.erase({next_use_[key], key}); }
    void on_admit(ExpertKey key) override { by_next_use_.insert({next_use_[key], key}); }

  private:
    static constexpr std::size_t kNever = ~std::size_t(0);
    using Entry = std::pair<std::size_t, ExpertKey>;

    std::vector<std::size_t> next_;      // [selections], when the same key is selected again
    std::vector<std::size_t> next_use_;  // [keys]
    std::set<Entry> by_next_use_;        // residents
    std::size_t now_ = 0;
};

}  // namespace

std::unique_ptr<ReplacementPolicy> make_belady(const CacheShape& shape,
                                               const std::vector<ExpertKey>& future) {
    return std::make_unique<Belady>(shape, future);
}

}  // namespace cachalot
