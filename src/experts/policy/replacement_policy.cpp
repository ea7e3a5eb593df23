#include "experts/policy/replacement_policy.h"

#include "base/error.h"

namespace cachalot {

const std::vector<PolicyInfo>& online_policies() {
    static const std::vector<PolicyInfo> policies = {
        {"lru", "least recently used, all layers together"},
        {"lru-layer", "least recently used, every layer with its own share"},
        {"lfu", "least often used since the start"},
        {"lfu-ageing", "the same, all counts halved every 16 tokens"},
        {"redis", "Redis' LFU with --lfu-log-factor and --lfu-decay-time"},
        {"redis-tuned", "the same with factor 0.1, decay 8 tokens, counters that outlive eviction"},
        {"arc", "ARC: recency and frequency, balanced by its own misses"},
        {"s3-fifo", "S3-FIFO: three queues"},
        {"w-tinylfu", "W-TinyLFU: admission by frequency"},
        {"forecast", "what the engine uses: evicts what is expected to be needed last"},
    };
    return policies;
}

std::unique_ptr<ReplacementPolicy> make_policy(std::string_view name, const CacheShape& shape,
                                               const PolicyOptions& options) {
    if (name == "lru") return make_lru(shape);
    if (name == "lru-layer") return make_lru_per_layer(shape);
    if (name == "lfu") return make_lfu(shape);
    if (name == "lfu-ageing") return make_ageing_lfu(shape);
    if (name == "redis") return make_redis_lfu(shape, options.redis);
    if (name == "redis-tuned") return make_redis_lfu(shape, {0.1, 8, true});
    if (name == "arc") return make_arc(shape);
    if (name == "s3-fifo") return make_s3_fifo(shape);
    if (name == "w-tinylfu") return make_w_tiny_lfu(shape);
    if (name == "forecast") return make_forecast(shape);
    std::string known;
    for (const auto& policy : online_policies()) known += (known.empty() ? "" : ", ") + policy.name;
    fail("there is no cache policy \"{}\"; known are {}", name, known);
}

}  // namespace cachalot
