// Who has memory, and who gives some up when it is short.
#include <algorithm>

#include "engine/scheduler.h"

namespace cachalot {

// What a state of that length adds to one that it was continued from, with the copies of the pages that both
// write to.
std::int64_t Scheduler::bytes_for(std::int64_t length, std::int64_t shared) const {
    return layout_.bytes_at(length) - layout_.bytes_at(shared) + layout_.growth(0, 0) + layout_.bytes_at(0);
}

// The least that all who have a place are going to hold together, with all tokens that they know by now, and
// with them a newcomer of that length (0: nobody) that continues from `shared` tokens. What they continued
// from counts once: it may be the same for all.
std::int64_t Scheduler::bytes_together(std::int64_t length, std::int64_t shared) const {
    std::int64_t total = 0, base = 0;
    auto add = [&](std::int64_t tokens, std::int64_t continued_from) {
        total += layout_.bytes_at(tokens) - layout_.bytes_at(continued_from) + layout_.bytes_at(0);
        base = std::max(base, continued_from);
    };
    if (length > 0) add(length, shared);
    for (const auto* all : {&running_, &fetching_})
        for (const auto& [rank, s] : *all) add(static_cast<std::int64_t>(s->tokens().size()), s->base_);
    return total + layout_.bytes_at(base) - layout_.bytes_at(0);
}

bool Scheduler::has_room(std::int64_t bytes) const { return engine_.kv_memory().bytes() + bytes <= limit_; }

// Evicts prefixes until so many bytes are free; false if that is not enough.
bool Scheduler::evict_for(std::int64_t bytes) {
    while (!has_room(bytes))
        if (!prefixes_.evict() && !let_go()) return false;
    return true;
}

// As evict_for(); if that is not enough, the disk tier gives up what it holds in memory.
bool Scheduler::make_room(std::int64_t bytes) {
    return evict_for(bytes) || (options_.disk && options_.disk->release_memory() && evict_for(bytes));
}

// The last in the queue that holds a prefix does without it; false if nobody holds one.
bool Scheduler::let_go() {
    const auto last = std::find_if(waiting_.rbegin(), waiting_.rend(),
                                   [](const auto& entry) { return entry.second->wanted_ != nullptr; });
    if (last == waiting_.rend()) return false;
    last->second->wanted_.reset();
    return true;
}

// A state that cannot be kept costs that it is computed again, and no more.
void Scheduler::keep(Sequence& s, std::int64_t length) try {
    auto tokens = s.tokens().first(static_cast<std::size_t>(length));
    if (length == 0 || prefixes_.contains(s.options_.space, tokens)) return;
    // Of one in the middle of context the last layers know too few tokens to continue from.
    const auto begin = s.state_->context_end();
    if (begin > 0 && length - begin < engine_.options().decoder_prefill) return;
    if (!engine_.problem().empty()) return;  // nobody knows which weights the state is of
    // The part of the memory beyond the limit is for this moment; the next pass makes room again.
    if (engine_.kv_memory().bytes() > limit_ && !make_room(0)) return;
    auto saved = s.state_->checkpoint(length);
    if (options_.disk)
        options_.disk->store(s.options_.space, tokens, saved,
                             [&](std::int64_t bytes) { return evict_for(bytes); });
    prefixes_.insert(s.options_.space, tokens, std::move(saved));
} catch (const std::exception& e) {
    engine_.options().log.often(LogLevel::warn, "a state is not kept", {{"error", e.what()}});
}

bool Scheduler::adopt(const std::string& space, std::span<const std::int32_t> tokens, KvCheckpoint state) {
    if (!make_room(0)) return false;
    prefixes_.insert(space, tokens, std::move(state));
    return true;
}

void Scheduler::retire(const Held& held) {
    keep(*held, held->state_->length());
    held->state_.reset();
    running_.erase(held->rank_);
}

// Takes its place from the one of highest rank, and what it has of memory.
void Scheduler::preempt() {
    const bool fetches =
        running_.empty() || (!fetching_.empty() && fetching_.rbegin()->first > running_.rbegin()->first);
    const auto held = (fetches ? fetching_ : running_).rbegin()->second;
    if (fetches) {
        fetching_.erase(held->rank_);
        held->fetch_.reset();
    } else {
        retire(held);
    }
    ++preemptions_;
    held->asked_disk_ = false;
    wait_again(held);
}

}  // namespace cachalot
