#include "cache/streaming_expert_store.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

CacheShape shape_of(const RouteHeader& header, int slots) {
    return {header.layers, header.experts, std::min(slots, header.layers * header.experts)};
}

}  // namespace

StreamingExpertStore::StreamingExpertStore(const Model& model, int slots, std::unique_ptr<ReadQueue> queue)
    : records_(model),
      cache_(shape_of(records_.header(), slots),
             make_policy(kShippedPolicy, shape_of(records_.header(), slots))),
      memory_(cache_.shape().slots, records_.slot_bytes()),
      in_slot_(static_cast<std::size_t>(cache_.shape().slots)),
      reader_(model.checkpoint->files(), std::move(queue)) {
    stats_.slots = cache_.shape().slots;
    stats_.experts = static_cast<int>(cache_.shape().keys());
    stats_.slot_bytes = records_.slot_bytes();
    stats_.locked = memory_.locked();
    stats_.direct = reader_.direct();
    stats_.method = reader_.method();
}

void StreamingExpertStore::begin_pass(int tokens, bool prompt) {
    settle();
    cache_.begin_pass(tokens, prompt);
    in_prompt_ = prompt;
    std::lock_guard lock(stats_mutex_);
    traffic().tokens += tokens;
}

ExpertSupply& StreamingExpertStore::layer(int layer) {
    settle();
    layer_ = layer;
    return *this;
}

std::optional<ExpertCacheStats> StreamingExpertStore::stats() const {
    std::lock_guard lock(stats_mutex_);
    return stats_;
}

void StreamingExpertStore::request(std::span<const std::int32_t> experts,
                                   std::span<const std::int32_t> rows) {
    settle();
    asked_.assign(experts.begin(), experts.end());
    slots_.resize(asked_.size());
    cache_.select(layer_, experts, rows, slots_);
    for (std::size_t i = 0; i < asked_.size(); ++i) {
        if (slots_[i] == ExpertCache::kNoSlot) {
            missing_.push_back(i);
        } else {
            held_.push_back(key(i));
            ready_.push_back(i);
        }
    }
    first_call_ = true;
    {
        std::lock_guard lock(stats_mutex_);
        traffic().lookups += asked_.size();
        traffic().hits += ready_.size();
    }
    start_wave();
}

// The same decisions in the same order as replay() of cache_simulator.cpp, which does not have to wait before it releases
// what is held.
void StreamingExpertStore::start_wave() {
    while (next_missing_ < missing_.size()) {
        const std::size_t asked = missing_[next_missing_];
        if (held_.size() >= static_cast<std::size_t>(cache_.wave())) wave_full_ = true;
        if (wave_full_) return;
        const int slot = cache_.place(key(asked));
        if (slot == ExpertCache::kNoSlot) {
            CACHALOT_CHECK(!held_.empty());
            wave_full_ = true;
            return;
        }
        ++next_missing_;
        held_.push_back(key(asked));
        slots_[asked] = slot;
        try {
            read(asked);
        } catch (...) {
            drop(asked);
            throw;
        }
    }
}

void StreamingExpertStore::read(std::size_t asked) {
    const ExpertWeights& mapped = records_.mapped(layer_, asked_[asked]);
    std::byte* to = memory_.slot(slots_[asked]);
    in_slot_[static_cast<std::size_t>(slots_[asked])] = records_.in_slot(mapped, to);
    const auto runs = records_.runs(mapped, to);
    reader_.submit(asked, runs);
    std::uint64_t bytes = 0;
    for (const auto& run : runs) bytes += run.read_bytes();
    std::lock_guard lock(stats_mutex_);
    traffic().bytes_read += bytes;
}

std::size_t StreamingExpertStore::next(std::span<const ExpertWeights*> weights) {
    CACHALOT_CHECK(weights.size() == asked_.size());
    const bool first = std::exchange(first_call_, false);
    if (!first && wave_full_ && ready_.empty() && reader_.under_way() == 0) {
        release_held();
        wave_full_ = false;
        start_wave();
    }
    collect(!first);
    CACHALOT_CHECK(first || !ready_.empty());
    std::fill(weights.begin(), weights.end(), nullptr);
    for (const std::size_t asked : ready_)
        weights[asked] = &in_slot_[static_cast<std::size_t>(slots_[asked])];
    return std::exchange(ready_, {}).size();
}

void StreamingExpertStore::collect(bool wait) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    std::string error;
    while (auto finished = reader_.next(wait)) {
        const auto asked = static_cast<std::size_t>(finished->job);
        wait = false;
        if (finished->error.empty()) {
            ready_.push_back(asked);
            continue;
        }
        drop(asked);
        if (error.empty())
            error =
                fmt::format("{} (layer {}, expert {}, {})", finished->error, layer_, asked_[asked],
                            ExpertRecords::part_name(records_.mapped(layer_, asked_[asked]), finished->run));
        wait = true;  // for all the others, too: nothing may be under way when the error is told
    }
    {
        std::lock_guard lock(stats_mutex_);
        traffic().wait_seconds += std::chrono::duration<double>(Clock::now() - start).count();
    }
    if (error.empty()) return;
    settle();
    throw Error(error);
}

void StreamingExpertStore::drop(std::size_t asked) {
    cache_.drop(key(asked));
    std::erase(held_, key(asked));
}

void StreamingExpertStore::release_held() {
    for (const ExpertKey key : held_) cache_.release(key);
    held_.clear();
}

void StreamingExpertStore::settle() {
    while (auto finished = reader_.next(true)) {  // only if the layer was given up
        const auto asked = static_cast<std::size_t>(finished->job);
        if (finished->error.empty()) continue;
        drop(asked);
    }
    release_held();
    missing_.clear();
    next_missing_ = 0;
    ready_.clear();
    wave_full_ = first_call_ = false;
}

}  // namespace cachalot
