// The LFU of Redis (src/evict.c of github.com/redis/redis; documented in redis.conf), on tokens instead of
// minutes.
//
// A key has a counter of eight bits that grows like a logarithm: a use increments it with probability
//
//     1 / ((counter - 5) * lfu-log-factor + 1)
//
// and it loses one for every lfu-decay-time that passed. New keys start at 5, so that they are not evicted at
// once. Redis draws five keys and evicts the lowest; here the lowest of all is found, which is what the
// drawing approximates.
//
// With Redis' own parameters this fails for experts. A web cache has keys with a million uses; an expert
// comes round every ten to forty tokens, so that all counters stay between 5 and 8, whatever has been hit
// once after its admission stays for good, and newcomers evict each other. A factor near 0.1, a decay of some
// tokens, and counters that survive eviction (`ghosts`) repair most of it.
#include <algorithm>
#include <random>

#include "experts/policy/score_policy.h"

namespace cachalot {
namespace {

constexpr int kInitial = 5;  // LFU_INIT_VAL
constexpr int kMost = 255;

class RedisLfu final : public ScorePolicy {
  public:
    RedisLfu(const CacheShape& shape, const RedisOptions& options)
        : ScorePolicy(shape), options_(options), entries_(shape.keys()) {}

    void begin_pass(int tokens, bool) override { now_ += tokens; }

  protected:
    double score(ExpertKey key) override { return decayed(entries_[key]); }

    void count_selection(ExpertKey key, int count, bool resident) override {
        if (!resident && !options_.ghosts) return;  // the key is unknown; admission sets its counter
        Entry& e = entries_[key];
        int counter = decayed(e);
        for (int i = 0; i < std::min(count, kMost) && counter < kMost; ++i) {
            const double over = std::max(0, counter - kInitial);
            if (uniform() < 1.0 / (over * options_.log_factor + 1)) ++counter;
        }
        e = {counter, now_};
    }

    void remember(ExpertKey key) override {
        if (!options_.ghosts) entries_[key] = {kInitial, now_};
    }

  private:
    struct Entry {
        int counter = kInitial;
        std::int64_t since = 0;  // the token of the last decrement
    };

    int decayed(const Entry& e) const {
        if (options_.decay_tokens <= 0) return e.counter;
        const auto steps = (now_ - e.since) / options_.decay_tokens;
        return static_cast<int>(std::max<std::int64_t>(0, e.counter - steps));
    }

    // In [0, 1). The generator's sequence is fixed by the standard, that of its distributions is not.
    double uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

    RedisOptions options_;
    std::vector<Entry> entries_;  // [keys]
    std::int64_t now_ = 0;        // tokens
    std::mt19937_64 random_{1};
};

}  // namespace

std::unique_ptr<ReplacementPolicy> make_redis_lfu(const CacheShape& shape, const RedisOptions& options) {
    return std::make_unique<RedisLfu>(shape, options);
}

}  // namespace cachalot
