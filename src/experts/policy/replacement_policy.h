// Which expert leaves the cache when another one needs its slot.
//
// A policy is told everything that happens and asked one question. It is told of every choice of the router,
// also of those that missed: unlike a cache of web pages, the set of keys is small (11,008 in V4-Flash), so
// that a policy can afford to remember all of them and needs no sketches. Its clock is tokens, not seconds: a
// conversation that pauses over lunch has not become less interesting.
//
// The order of calls for one layer, made by ExpertCache:
//
//     begin_pass(tokens, prompt)                once for all layers
//     on_select(key, count, resident)           for every expert that the layer's router chose
//     must_evict / victim, on_evict, on_admit   for every one of them that is to be read
//
// Keys are layer * experts + expert. Policies are deterministic: those that need random numbers bring their
// own seed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

using ExpertKey = std::uint32_t;
inline constexpr ExpertKey kNoKey = ~ExpertKey(0);

// What a cache is made for.
struct CacheShape {
    int layers = 0;
    int experts = 0;  // of a layer
    int slots = 0;    // experts that fit into the cache

    std::size_t keys() const { return static_cast<std::size_t>(layers) * static_cast<std::size_t>(experts); }
    ExpertKey key(int layer, int expert) const { return static_cast<ExpertKey>(layer * experts + expert); }
    int layer(ExpertKey key) const { return static_cast<int>(key) / experts; }
};

// Which experts must stay for now: those in use and those being read.
class Pins {
  public:
    explicit Pins(std::size_t keys) : count_(keys, 0) {}
    bool pinned(ExpertKey key) const { return count_[key] != 0; }
    void pin(ExpertKey key) { ++count_[key]; }
    void unpin(ExpertKey key) { --count_[key]; }

  private:
    std::vector<std::uint16_t> count_;
};

class ReplacementPolicy {
  public:
    virtual ~ReplacementPolicy() = default;

    // Told before anything else: in earlier sessions this share of the tokens chose the expert.
    virtual void expect(ExpertKey key, double rate) { (void)key, (void)rate; }

    // A pass over all layers begins that evaluates `tokens` tokens, of a prompt or of answers.
    virtual void begin_pass(int tokens, bool prompt) { (void)tokens, (void)prompt; }

    // A router chose this expert for `count` tokens of the pass. Experts of one layer follow each other.
    virtual void on_select(ExpertKey key, int count, bool resident) = 0;

    // True if the policy wants an expert evicted for this one although a slot is free.
    virtual bool must_evict(ExpertKey incoming) const {
        (void)incoming;
        return false;
    }

    // The resident expert to evict for `incoming`, never a pinned one; kNoKey if there is none.
    virtual ExpertKey victim(ExpertKey incoming, const Pins& pins) = 0;

    virtual void on_evict(ExpertKey key) = 0;
    virtual void on_admit(ExpertKey key) = 0;
};

// The parameters of Redis' LFU: `lfu-log-factor`, and `lfu-decay-time` in tokens instead of minutes. Redis
// forgets the counter of an evicted key; with `ghosts` it is kept.
struct RedisOptions {
    double log_factor = 10;
    int decay_tokens = 300;  // Redis' minute at five tokens a second
    bool ghosts = false;
};

struct PolicyOptions {
    RedisOptions redis;
};

// The policies that need not know the future, in the order in which they are shown.
struct PolicyInfo {
    std::string name;
    std::string description;
};
const std::vector<PolicyInfo>& online_policies();

inline constexpr std::string_view kShippedPolicy = "forecast";

// Throws Error if there is no policy of that name.
std::unique_ptr<ReplacementPolicy> make_policy(std::string_view name, const CacheShape& shape,
                                               const PolicyOptions& options = {});

// One function for each policy; a file of this folder has the variants of one.
std::unique_ptr<ReplacementPolicy> make_lru(const CacheShape& shape);
std::unique_ptr<ReplacementPolicy> make_lru_per_layer(const CacheShape& shape);
std::unique_ptr<ReplacementPolicy> make_lfu(const CacheShape& shape);
std::unique_ptr<ReplacementPolicy> make_ageing_lfu(const CacheShape& shape);
std::unique_ptr<ReplacementPolicy> make_redis_lfu(const CacheShape& shape, const RedisOptions& options);
std::unique_ptr<ReplacementPolicy> make_arc(const CacheShape& shape);
std::unique_ptr<ReplacementPolicy> make_s3_fifo(const CacheShape& shape);
std::unique_ptr<ReplacementPolicy> make_w_tiny_lfu(const CacheShape& shape);
std::unique_ptr<ReplacementPolicy> make_forecast(const CacheShape& shape);

// Belady's policy: evicts what is needed last. `future` lists the keys of every on_select that will come.
std::unique_ptr<ReplacementPolicy> make_belady(const CacheShape& shape, const std::vector<ExpertKey>& future);

}  // namespace cachalot
