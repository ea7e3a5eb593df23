#include "experts/streaming_expert_store.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr int kSaveEvery = 4096;  // tokens
constexpr int kRounds = 2;        // over all sources, before an expert counts as one that cannot be read

// Enough to keep the disk busy while a layer's attention is computed, and for a token's experts in layers
// with a table, but no more than a sixteenth of the memory, which is missing from the cache.
int places_ahead(const Config& c, int slots) {
    if (slots >= c.layers * c.experts) return 0;
    return std::min(slots / 16, std::max(c.hash_layers() * c.experts_per_token, c.experts / 4));
}

CacheShape cache_shape(const Config& c, int slots) {
    return {c.layers, c.experts, std::min(slots, c.layers * c.experts) - places_ahead(c, slots)};
}

}  // namespace

StreamingExpertStore::StreamingExpertStore(const Model& model, int slots, std::unique_ptr<ReadQueue> queue,
                                           std::optional<HeatFile> heat, ExpertPacks packs, Log log)
    : model_(model),
      log_(std::move(log)),
      records_(model, std::move(packs)),
      cache_(cache_shape(model.config, slots), make_policy(kShippedPolicy, cache_shape(model.config, slots))),
      ahead_(cache_.shape().slots, places_ahead(model.config, slots)),
      memory_(cache_.shape().slots + ahead_.places(), records_.slot_bytes()),
      in_memory_(static_cast<std::size_t>(cache_.shape().slots + ahead_.places())),
      reader_(records_.files(), std::move(queue)),
      heat_(heat ? std::move(heat->heat) : ExpertHeat(model.config.layers, model.config.experts, {})),
      is_warming_(cache_.shape().keys(), false) {
    for (int slot = 0; slot < cache_.shape().slots; ++slot) memory_of_.push_back(slot);
    stats_.slots = cache_.shape().slots;
    stats_.ahead = ahead_.places();
    stats_.experts = static_cast<int>(cache_.shape().keys());
    stats_.packs = records_.sources() - 1;
    stats_.slot_bytes = records_.slot_bytes();
    stats_.locked = memory_.locked();
    stats_.direct = reader_.direct();
    stats_.method = reader_.method();
    if (!heat) return;
    heat_file_ = heat->path;
    warm_up();
}

StreamingExpertStore::~StreamingExpertStore() {
    if (unsaved_tokens_ > 0) save_heat();
}

// What goes wrong here is no request's fault, and the next time it may work.
void StreamingExpertStore::save_heat() {
    unsaved_tokens_ = 0;
    if (heat_file_.empty()) return;
    try {
        heat_.save(heat_file_);
    } catch (const Error& e) {
        log_.often(LogLevel::warn, "which experts are used is not remembered", {{"error", e.what()}});
    }
}

void StreamingExpertStore::warm_up() {
    for (const ExpertKey key : heat_.hottest()) {
        cache_.expect(key, heat_.rate(key));
        if (cache_.residents() == cache_.shape().slots) continue;
        const int slot = cache_.place(key);
        warming_.push_back(key);
        is_warming_[key] = true;
        read(key, memory_of_[static_cast<std::size_t>(slot)], ReadClass::idle);
    }
    stats_.warming = static_cast<int>(warming_.size());
}

bool StreamingExpertStore::make_way() {
    while (!warming_.empty()) {
        const ExpertKey key = warming_.back();
        warming_.pop_back();
        if (!is_warming_[key] || !reader_.withdraw(key)) continue;
        is_warming_[key] = false;
        cache_.drop(key);
        std::lock_guard lock(stats_mutex_);
        --stats_.warming;
        return true;
    }
    return false;
}

void StreamingExpertStore::begin_pass(const Batch& batch) {
    settle();
    const int count = batch.rows();
    in_prompt_ = batch.has(RowsKind::prompt);
    cache_.begin_pass(count, in_prompt_);
    heat_.begin_pass(count);
    if (unsaved_tokens_ >= kSaveEvery) save_heat();
    unsaved_tokens_ += count;
    {
        std::lock_guard lock(stats_mutex_);
        traffic().tokens += count;
    }
    const RouteHeader& header = records_.header();
    auto needs_nearly_all = [&](int rows) {
        return std::int64_t(rows) * header.top_k >= std::int64_t(3) * header.experts;
    };
    whole_layers_end_ = needs_nearly_all(count - batch.context_rows()) ? header.layers
                        : needs_nearly_all(count)
                            ? std::min(header.layers, model_.config.context_layers_end())
                            : 0;
    known_ = of_tables(batch.tokens());
    for (const ExpertKey key : expected_)
        if (ahead_.awaits(key) && std::ranges::binary_search(known_, key))
            reader_.raise(key, ReadClass::certain);
    if (!std::exchange(just_expected_, false)) expected_.clear();
    layer_ = -1;
    read_ahead();
}

void StreamingExpertStore::expect(std::span<const std::int32_t> tokens) {
    if (ahead_.places() == 0) return;
    settle();
    layer_ = records_.header().layers;  // the pass before is over, however far it got
    expected_ = of_tables(tokens);
    just_expected_ = true;
    read_ahead();
}

// Experts of layers whose router is a table, ascending.
std::vector<ExpertKey> StreamingExpertStore::of_tables(std::span<const std::int32_t> tokens) const {
    const RouteHeader& header = records_.header();
    const auto k = static_cast<std::size_t>(header.top_k);
    std::vector<ExpertKey> keys;
    std::vector<char> chosen;
    for (int l = 0; l < header.layers; ++l) {
        const auto& table = model_.weights.layers[static_cast<std::size_t>(l)].table;
        if (table.empty()) continue;
        chosen.assign(static_cast<std::size_t>(header.experts), false);
        for (const std::int32_t token : tokens)
            for (std::size_t i = 0; i < k; ++i)
                chosen[static_cast<std::size_t>(table[static_cast<std::size_t>(token) * k + i])] = true;
        for (int e = 0; e < header.experts; ++e)
            if (chosen[static_cast<std::size_t>(e)]) keys.push_back(cache_.shape().key(l, e));
    }
    return keys;
}

// Plans anew what is read next, and starts what there is room for.
void StreamingExpertStore::read_ahead() {
    if (ahead_.places() == 0) return;
    std::vector<ReadAhead::Wanted> wanted;
    const auto enough = static_cast<std::size_t>(ahead_.places());
    for (std::size_t i = next_missing_; i < missing_.size(); ++i)
        wanted.push_back({key(missing_[i]), ReadClass::certain});
    for (const ExpertKey key : known_)
        if (wanted.size() < enough && cache_.shape().layer(key) > layer_ &&
            cache_.slot(key) == ExpertCache::kNoSlot)
            wanted.push_back({key, ReadClass::certain});
    const int next = layer_ + 1;
    if (next < whole_layers_end_ && wanted.size() < enough &&
        model_.weights.layers[static_cast<std::size_t>(next)].table.empty()) {
        const std::size_t first = wanted.size();
        for (int e = 0; e < cache_.shape().experts; ++e)
            if (const ExpertKey key = cache_.shape().key(next, e); cache_.slot(key) == ExpertCache::kNoSlot)
                wanted.push_back({key, ReadClass::likely});
        std::stable_sort(wanted.begin() + static_cast<std::ptrdiff_t>(first), wanted.end(),
                         [&](const auto& a, const auto& b) { return heat_.rate(a.key) > heat_.rate(b.key); });
    }
    for (const ExpertKey key : expected_)
        if (wanted.size() < enough && cache_.slot(key) == ExpertCache::kNoSlot &&
            std::ranges::find(wanted, key, &ReadAhead::Wanted::key) == wanted.end())
            wanted.push_back({key, ReadClass::idle});
    ahead_.plan(wanted, [&](ExpertKey key) { return reader_.withdraw(key); });
    while (const auto start = ahead_.start()) {
        try {
            read(start->key, start->memory, start->urgency);
        } catch (const Error& e) {  // nobody waits for it; who asks for it is told
            log_.often(LogLevel::debug, "experts cannot be read ahead", {{"error", e.what()}});
            ahead_.finished(start->key, false);
            return;
        }
    }
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

std::optional<std::size_t> StreamingExpertStore::asked(ExpertKey key) const {
    if (cache_.shape().layer(key) != layer_) return {};
    const auto expert = static_cast<std::int32_t>(key) - layer_ * cache_.shape().experts;
    const auto at = std::lower_bound(asked_.begin(), asked_.end(), expert);
    if (at == asked_.end() || *at != expert) return {};
    return static_cast<std::size_t>(at - asked_.begin());
}

void StreamingExpertStore::await(std::size_t asked) {
    awaited_[asked] = true;
    ++awaited_count_;
}

void StreamingExpertStore::request(std::span<const std::int32_t> experts,
                                   std::span<const std::int32_t> rows) {
    settle();
    asked_.assign(experts.begin(), experts.end());
    slots_.resize(asked_.size());
    awaited_.assign(asked_.size(), false);
    cache_.select(layer_, experts, rows, slots_);
    for (std::size_t i = 0; i < asked_.size(); ++i) {
        heat_.count(key(i), rows[i]);
        if (slots_[i] == ExpertCache::kNoSlot) {
            missing_.push_back(i);
            continue;
        }
        held_.push_back(key(i));
        if (!is_warming_[key(i)]) {
            ready_.push_back(i);
            continue;
        }
        // It has a slot, but is not there yet.
        is_warming_[key(i)] = false;
        cache_.release(key(i));
        reader_.raise(key(i), ReadClass::demand);
        await(i);
        std::lock_guard lock(stats_mutex_);
        --stats_.warming;
    }
    first_call_ = true;
    {
        std::lock_guard lock(stats_mutex_);
        traffic().lookups += asked_.size();
        traffic().hits += ready_.size();
        traffic().ahead += awaited_count_;
    }
    start_wave();
}

// The same decisions in the same order as replay() of cache_simulator.cpp, which does not have to wait before
// it releases what is held.
void StreamingExpertStore::start_wave() {
    while (next_missing_ < missing_.size()) {
        const std::size_t asked = missing_[next_missing_];
        if (held_.size() >= static_cast<std::size_t>(cache_.wave())) wave_full_ = true;
        if (wave_full_) break;
        const int slot = place(key(asked));
        if (slot == ExpertCache::kNoSlot) {
            CACHALOT_CHECK(!held_.empty());
            wave_full_ = true;
            break;
        }
        ++next_missing_;
        held_.push_back(key(asked));
        slots_[asked] = slot;
        int& memory = memory_of_[static_cast<std::size_t>(slot)];
        if (const auto taken = ahead_.take(key(asked), memory)) {
            memory = taken->memory;
            {
                std::lock_guard lock(stats_mutex_);
                ++traffic().ahead;
            }
            if (taken->arrived) {
                ready_.push_back(asked);
                continue;
            }
            reader_.raise(key(asked), ReadClass::demand);
        } else {
            try {
                read(key(asked), memory, ReadClass::demand);
            } catch (...) {
                drop(asked);
                throw;
            }
        }
        await(asked);
    }
    read_ahead();
}

int StreamingExpertStore::place(ExpertKey key) {
    while (true) {
        if (cache_.residents() == cache_.shape().slots) make_way();
        const int slot = cache_.place(key);
        // Only in a tiny cache: all slots are of experts of earlier sessions that are being read right now.
        if (slot != ExpertCache::kNoSlot || !held_.empty()) return slot;
        const auto finished = reader_.next(true);
        CACHALOT_CHECK(finished);
        std::string error;
        arrived(*finished, error);
    }
}

void StreamingExpertStore::read(ExpertKey key, int memory, ReadClass urgency) {
    const int layer = cache_.shape().layer(key),
              expert = static_cast<int>(key) - layer * cache_.shape().experts;
    const int source = source_of(key);
    std::byte* to = memory_.slot(memory);
    in_memory_[static_cast<std::size_t>(memory)] = records_.in_slot(layer, expert, source, to);
    const auto runs = records_.runs(layer, expert, source, to);
    reader_.submit(key, runs, urgency);
    if (is_warming_[key]) return;  // no pass is to blame
    std::uint64_t bytes = 0;
    for (const auto& run : runs) bytes += run.read_bytes();
    std::lock_guard lock(stats_mutex_);
    traffic().bytes_read += bytes;
}

std::size_t StreamingExpertStore::next(std::span<const ExpertWeights*> weights) {
    CACHALOT_CHECK(weights.size() == asked_.size());
    const bool first = std::exchange(first_call_, false);
    if (!first && wave_full_ && ready_.empty() && awaited_count_ == 0) {
        release_held();
        wave_full_ = false;
        start_wave();
    }
    collect(!first);
    CACHALOT_CHECK(first || !ready_.empty());
    std::fill(weights.begin(), weights.end(), nullptr);
    for (const std::size_t asked : ready_)
        weights[asked] =
            &in_memory_[static_cast<std::size_t>(memory_of_[static_cast<std::size_t>(slots_[asked])])];
    return std::exchange(ready_, {}).size();
}

void StreamingExpertStore::collect(bool wait) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    std::string error;
    while (true) {
        // When something cannot be read, all others are waited for, too, before that is told.
        const bool needed = awaited_count_ > 0 && ((wait && ready_.empty()) || !error.empty());
        const auto finished = reader_.next(needed);
        if (!finished) break;
        arrived(*finished, error);
    }
    {
        std::lock_guard lock(stats_mutex_);
        traffic().wait_seconds += std::chrono::duration<double>(Clock::now() - start).count();
    }
    if (error.empty()) return;
    settle();
    throw Error(error);
}

// `error` becomes that of the first expert that was asked for and cannot be read.
void StreamingExpertStore::arrived(const BlockReader::Finished& finished, std::string& error) {
    const auto key = static_cast<ExpertKey>(finished.job);
    const bool readable = finished.error.empty();
    const int source = source_of(key);
    bool again = false;  // whether it is worth reading once more
    if (readable) {
        if (const auto failed = attempts_.find(key); failed != attempts_.end()) failed->second = source;
    } else {
        again = try_again(key);
        const int layer = cache_.shape().layer(key);
        const auto i = asked(key);
        const bool retried = again && i && awaited_[*i];  // what was only read ahead is not
        log_.often(LogLevel::warn,
                   retried ? "an expert cannot be read; it is tried again" : "an expert cannot be read",
                   {{"layer", layer},
                    {"expert", static_cast<int>(key) - layer * cache_.shape().experts},
                    {"error", finished.error}});
        std::lock_guard lock(stats_mutex_);
        ++stats_.failed_reads;
    }
    if (const auto i = asked(key); i && awaited_[*i]) {
        std::string reason = finished.error;
        try {
            if (again) return read(key, memory_of_[static_cast<std::size_t>(slots_[*i])], ReadClass::demand);
        } catch (const Error& e) {
            reason = e.what();
        }
        awaited_[*i] = false;
        --awaited_count_;
        if (readable) return ready_.push_back(*i);
        drop(*i);
        if (error.empty())
            error = fmt::format("{} (layer {}, expert {}, {})", reason, layer_, asked_[*i],
                                records_.run_name(layer_, asked_[*i], source, finished.run));
        return;
    }
    if (ahead_.finished(key, readable)) return;  // one that cannot be read fails again if it is asked for
    CACHALOT_CHECK(is_warming_[key]);
    is_warming_[key] = false;
    if (readable)
        cache_.release(key);
    else
        cache_.drop(key);
    std::lock_guard lock(stats_mutex_);
    --stats_.warming;
}

int StreamingExpertStore::source_of(ExpertKey key) const {
    const auto failed = attempts_.find(key);
    return failed == attempts_.end() ? 0 : failed->second % records_.sources();
}

bool StreamingExpertStore::try_again(ExpertKey key) {
    if (++attempts_[key] < kRounds * records_.sources()) return true;
    attempts_.erase(key);  // next time from the beginning
    return false;
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
    std::string error;
    while (awaited_count_ > 0) arrived(*reader_.next(true), error);  // only if the layer was given up
    release_held();
    missing_.clear();
    next_missing_ = 0;
    ready_.clear();
    wave_full_ = first_call_ = false;
}

}  // namespace cachalot
