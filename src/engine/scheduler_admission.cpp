// Who gets a place: what of a prompt is known, and whether somebody else is about to know more.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "engine/scheduler.h"

namespace cachalot {
namespace {

constexpr std::int64_t kWorthKeeping = 64;  // tokens that two prompts share beyond what is kept already
// Tokens at the end of a text that become others when more is added to it.
constexpr std::int64_t kMayChange = 8;

}  // namespace

// It goes to the queue, and holds what is known of it.
void Scheduler::wait_again(const Held& held) {
    auto& s = *held;
    s.wanted_ = prefixes_.find(s.options_.space, s.prefix()).state;
    s.known_at_ = -1;
    waiting_.emplace(s.rank_, held);
}

// What has come from disk is kept in memory now, and whoever asked for it waits for its start as before.
void Scheduler::collect() {
    for (auto next = fetching_.begin(); next != fetching_.end();) {
        auto& s = *next->second;
        if (!s.fetch_->done()) {
            ++next;
            continue;
        }
        const auto length = s.fetch_->length();
        if (auto state = s.fetch_->take()) {
            prefixes_.insert(s.options_.space, s.tokens().first(static_cast<std::size_t>(length)),
                             std::move(*state));
            if (!s.started_) s.on_disk_ = length - s.base_;
        }
        s.fetch_.reset();
        const auto held = next->second;
        next = fetching_.erase(next);
        wait_again(held);
    }
}

void Scheduler::admit() {
    const auto places = static_cast<std::size_t>(options_.parallel);
    for (auto next = waiting_.begin();
         next != waiting_.end() && running_.size() + fetching_.size() < places;) {
        if (must_wait(*next->second)) {
            ++next;
            continue;
        }
        if (!start(next->second)) return;  // nobody overtakes who waits for memory
        next->second->wanted_.reset();
        next = waiting_.erase(next);
    }
}

// Whether somebody is about to compute a prefix of this prompt, whose state will be kept where they part, or
// to get one from disk.
bool Scheduler::must_wait(Sequence& sequence) {
    if (sequence.options_.all_logits) return false;
    auto shared_with = [&](const Sequence& leader) -> std::int64_t {
        if (leader.options_.space != sequence.options_.space) return 0;
        return sequence.shared_.with(leader.rank_.second, sequence.prefix(), leader.tokens());
    };
    auto worth = [&](std::int64_t length) { return length >= known(sequence) + kWorthKeeping; };
    for (const auto& [rank, leader] : fetching_)
        if (auto length = leader->fetch_->length(); length <= shared_with(*leader) && worth(length))
            return true;
    for (auto& [rank, leader] : running_) {
        if (!leader->reads()) continue;
        auto shared = shared_with(*leader);
        if (shared <= leader->state_->length() || !worth(shared)) continue;
        leader->marks_.insert(shared);
        return true;
    }
    return false;
}

// Tokens of it that a kept state has.
std::int64_t Scheduler::known(Sequence& s) const {
    if (std::exchange(s.known_at_, prefixes_.changes()) != prefixes_.changes())
        s.known_ = prefixes_.find(s.options_.space, s.prefix()).kept();
    return s.known_;
}

// False: there is no memory for it now.
bool Scheduler::start(const Held& held) {
    auto& s = *held;
    const auto& space = s.options_.space;
    const auto match = prefixes_.find(space, s.prefix());      // stays true while it is held here
    if (s.generation_.finished() && !s.options_.all_logits) {  // there is nothing to write
        note_start(held, match.kept());
        SequenceEvent wrote{SequenceEvent::Kind::wrote, held};
        wrote.length = s.generation_.prompt_tokens() + s.generation_.completion_tokens();
        wrote.last = true;
        events_.push_back(std::move(wrote));
        return true;
    }
    s.wanted_ = match.state;
    const auto known = s.prefix().first(static_cast<std::size_t>(match.kept()));
    const auto length =
        std::min(static_cast<std::int64_t>(s.tokens().size()) + options_.headroom, engine_.context());
    const auto need = bytes_for(length, match.kept());
    const bool alone = running_.empty() && fetching_.empty();
    if (!alone && !has_room(need) && bytes_together(length, match.kept()) > limit_) return false;
    if (fetch(held, match)) return true;
    prefixes_.use(space, known);
    if (!make_room(need) && !alone) {
        s.asked_disk_ = false;  // what has come from there may be gone until there is memory
        return false;
    }
    if (options_.disk && !known.empty() && s.on_disk_ == 0) options_.disk->touch(space, known);

    auto state = engine_.new_state();
    if (match.state) state.restore(*match.state);
    s.resume(std::move(state));
    CACHALOT_CHECK(s.base_ == match.kept());
    set_marks(s, match.shared);
    running_.emplace(s.rank_, held);
    if (!s.started_) note_start(held, s.base_);
    return true;
}

void Scheduler::note_start(const Held& held, std::int64_t cached) {
    held->started_ = true;
    const auto now = std::chrono::steady_clock::now();
    held->times_ = {now, now, now};
    held->cached_ = cached;
    held->on_disk_ = std::min(held->on_disk_, cached);
    hits_on_disk_ += held->on_disk_;
    hits_in_memory_ += cached - held->on_disk_;
    events_.push_back({SequenceEvent::Kind::started, held});
}

// True: the disk knows more of the prefix than the match, and it has begun to be read. Asks once, so that
// records that are no good are not read for ever.
bool Scheduler::fetch(const Held& held, const PrefixIndex::Match& match) {
    auto& s = *held;
    const auto prefix = s.prefix();
    const auto kept = match.kept();
    if (!options_.disk || prefix.empty() || s.asked_disk_) return false;
    const auto& space = s.options_.space;
    const auto found = options_.disk->find(space, prefix);
    s.asked_disk_ = true;
    if (found <= kept || (kept > 0 && found < kept + kWorthKeeping)) return false;
    if (!make_room(bytes_for(found, kept))) return false;
    s.fetch_ = options_.disk->fetch(space, prefix, found, match.state.get());
    if (!s.fetch_) return false;
    s.base_ = kept;
    fetching_.emplace(s.rank_, held);
    return true;
}

void Scheduler::set_marks(Sequence& s, std::int64_t shared) const {
    const auto prompt = static_cast<std::int64_t>(s.generation_.prompt_tokens());
    const auto length = s.state_->length();
    s.marks_.clear();
    const auto header = s.options_.header;
    const auto end = header > 0 && header < prompt ? header : prompt - 1;
    s.marks_.insert(end > 2 * kMayChange ? end - kMayChange : end);
    if (shared >= length + kWorthKeeping) s.marks_.insert(shared);
    s.marks_.erase(s.marks_.begin(), s.marks_.upper_bound(length));
}

}  // namespace cachalot
