#include "engine/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::int64_t kClassPasses = 128;
constexpr std::int64_t kKeepEvery = 2048;   // tokens
constexpr std::int64_t kWorthKeeping = 64;  // tokens that two prompts share beyond what is kept already
constexpr std::int64_t kScoredRows = 64;    // whose logits of the whole vocabulary are in memory at once
// Tokens at the end of a text that become others when more is added to it.
constexpr std::int64_t kMayChange = 8;
constexpr std::chrono::milliseconds kDiskPatience{
    10};  // within which new work is noticed while there is none
constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max() / 2;

std::int64_t size(std::span<const std::int32_t> tokens) { return static_cast<std::int64_t>(tokens.size()); }

}  // namespace

std::int64_t Scheduler::least_memory(const Engine& engine) {
    const KvState state(engine.model().config, engine.options().kv);
    // A whole sequence, the copies of shared pages, and a checkpoint for a moment, which is smaller than an empty state.
    return state.bytes_at(engine.context()) + state.growth(0) + state.bytes_at(0);
}

Scheduler::Scheduler(Engine& engine, const SchedulerOptions& options)
    : engine_(engine),
      options_(options),
      empty_(engine.model().config, engine.options().kv),
      limit_(options.memory ? options.memory - empty_.bytes_at(0) : kNoLimit) {
    if (options.parallel < 1 || options.parallel > 1024)
        fail("parallel: {} is out of range (1 to 1024)", options.parallel);
    if (options.beside < 1) fail("beside: {} is out of range", options.beside);
    if (options.headroom < 1) fail("headroom: {} is out of range", options.headroom);
    if (auto least = least_memory(engine); options.memory && options.memory < least)
        fail(
            "the memory for attention states, {} bytes, does not hold one sequence of {} tokens: that takes "
            "{} bytes",
            options.memory, engine.context(), least);
}

void Scheduler::submit(std::shared_ptr<Sequence> sequence) {
    auto& s = *sequence;
    s.rank_ = {passes_ + kClassPasses * static_cast<std::int64_t>(s.options_.priority), submitted_++};
    waiting_.emplace(s.rank_, std::move(sequence));
}

std::string Scheduler::stop(const std::shared_ptr<Sequence>& sequence) {
    auto same = [&](const auto& entry) { return entry.second == sequence; };
    if (auto found = std::find_if(waiting_.begin(), waiting_.end(), same); found != waiting_.end())
        waiting_.erase(found);
    else if (found = std::find_if(fetching_.begin(), fetching_.end(), same); found != fetching_.end()) {
        sequence->fetch_.reset();
        fetching_.erase(found);
    } else if (std::any_of(running_.begin(), running_.end(), same))
        retire(sequence);
    else
        return {};
    return sequence->generation_.cancel();
}

std::vector<SequenceEvent> Scheduler::step() {
    events_.clear();
    ++passes_;
    collect();
    admit();
    rows_ = 0;
    if (auto parts = plan(); !parts.empty())
        evaluate(parts);
    else if (!fetching_.empty())
        options_.disk->wait(kDiskPatience);
    return std::move(events_);
}

std::int64_t Scheduler::running_bytes() const {
    std::int64_t total = 0;
    for (const auto& [rank, sequence] : running_) total += sequence->state_->bytes();
    return total;
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
        waiting_.insert(*next);
        next = fetching_.erase(next);
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
        next = waiting_.erase(next);
    }
}

// Whether somebody is about to compute a prefix of this prompt, whose state will be kept where they part, or to get one
// from disk.
bool Scheduler::must_wait(const Sequence& sequence) {
    if (sequence.options_.all_logits) return false;
    auto tokens = sequence.tokens().first(sequence.tokens().size() - 1);
    auto shared_with = [&](const Sequence& leader) -> std::int64_t {
        if (leader.options_.space != sequence.options_.space) return 0;
        auto theirs = leader.tokens();
        return std::mismatch(tokens.begin(), tokens.end(), theirs.begin(), theirs.end()).first -
               tokens.begin();
    };
    std::optional<std::int64_t> kept;
    auto worth = [&](std::int64_t length) {
        if (!kept) kept = prefixes_.find(sequence.options_.space, tokens).kept;
        return length >= *kept + kWorthKeeping;
    };
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

// What a state of that length adds to one that it was continued from, with the copies of the pages that both write to.
std::int64_t Scheduler::bytes_for(std::int64_t length, std::int64_t shared) const {
    return empty_.bytes_at(length) - empty_.bytes_at(shared) + empty_.growth(0) + empty_.bytes_at(0);
}

// The same of one that has a place.
std::int64_t Scheduler::bytes_for(const Sequence& s) const {
    return bytes_for(s.fetch_ ? s.fetch_->length() : s.state_->length(), s.base_);
}

// False: there is no memory for it now.
bool Scheduler::start(const Held& held) {
    auto& s = *held;
    auto& generation = s.generation_;
    if (generation.finished() && !s.options_.all_logits) {  // there is nothing to write
        note_start(held, prefixes_.find(s.options_.space, s.tokens().first(s.tokens().size() - 1)).kept);
        events_.push_back({SequenceEvent::Kind::wrote, held});
        return true;
    }
    auto prefix = s.tokens().first(s.options_.all_logits ? 0 : s.tokens().size() - 1);
    auto match = prefixes_.find(s.options_.space, prefix);
    const auto length = std::min(size(s.tokens()) + options_.headroom, engine_.context());
    const auto need = bytes_for(length, match.kept);
    const bool alone = running_.empty() && fetching_.empty();
    if (!alone) {
        // Only what is kept can make room. Do not throw it away if that will not do.
        auto others = need;
        for (const auto* all : {&running_, &fetching_})
            for (const auto& [rank, other] : *all) others += bytes_for(*other);
        if (others > limit_) return false;
    }
    if (fetch(held, prefix, match.kept)) return true;
    auto kept = prefixes_.take(s.options_.space, prefix);
    if (!make_room(need) && !alone) {
        s.asked_disk_ = false;  // what has come from there may be gone until there is memory
        return false;
    }
    if (options_.disk && kept && s.on_disk_ == 0)
        options_.disk->touch(s.options_.space, prefix.first(static_cast<std::size_t>(kept->length)));

    s.state_ = engine_.new_state();
    if (kept) s.state_->restore(*kept);
    generation.continue_at(static_cast<std::size_t>(match.kept));
    s.base_ = match.kept;
    set_marks(s, match.shared);
    running_.emplace(s.rank_, held);
    if (!s.started_) note_start(held, match.kept);
    return true;
}

void Scheduler::note_start(const Held& held, std::int64_t cached) {
    held->started_ = true;
    held->cached_ = cached;
    held->on_disk_ = std::min(held->on_disk_, cached);
    hits_on_disk_ += held->on_disk_;
    hits_in_memory_ += cached - held->on_disk_;
    events_.push_back({SequenceEvent::Kind::started, held});
}

// True: the disk knows more of the prefix than the `kept` tokens, and it has begun to be read. Asks once, so that
// records that are no good are not read for ever.
bool Scheduler::fetch(const Held& held, std::span<const std::int32_t> prefix, std::int64_t kept) {
    auto& s = *held;
    if (!options_.disk || prefix.empty() || s.asked_disk_) return false;
    const auto& space = s.options_.space;
    const auto found = options_.disk->find(space, prefix);
    s.asked_disk_ = true;
    if (found <= kept || (kept > 0 && found < kept + kWorthKeeping)) return false;
    const auto known = prefixes_.take(space, prefix);
    if (!make_room(bytes_for(found, kept))) return false;
    s.fetch_ = options_.disk->fetch(space, prefix, found, known.get());
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

// What the next pass does, with memory for it.
std::vector<Scheduler::Part> Scheduler::plan() {
    while (true) {
        auto parts = share_rows();
        std::int64_t need = 0;
        for (const auto& part : parts) need += part.sequence->state_->growth(part.rows);
        if (make_room(need) || running_.size() + fetching_.size() < 2)
            return parts;  // there is room for one, see the constructor
        preempt();
    }
}

std::vector<Scheduler::Part> Scheduler::share_rows() const {
    std::vector<Part> parts;
    for (const auto& [rank, s] : running_) parts.push_back({s, size(s->generation_.pending())});
    auto by_length = [](const Part& a, const Part& b) { return a.rows < b.rows; };
    std::stable_sort(parts.begin(), parts.end(), by_length);
    auto readers =
        std::find_if(parts.begin(), parts.end(), [](const Part& p) { return p.sequence->reads(); });
    auto left =
        static_cast<std::int64_t>(readers == parts.begin() ? engine_.options().chunk : options_.beside);
    for (auto part = readers; part != parts.end(); ++part) {
        auto fair = std::max<std::int64_t>(left / (parts.end() - part), 1);
        if (part->sequence->options_.all_logits) fair = std::min(fair, kScoredRows);
        part->rows = cut_at_mark(*part->sequence, std::min(part->rows, fair));
        left -= part->rows;
    }
    return parts;
}

// A state can be kept as it was up to kRollback tokens ago, so only marks that lie further back end a chunk.
std::int64_t Scheduler::cut_at_mark(const Sequence& s, std::int64_t rows) const {
    const auto start = s.state_->length();
    auto next = (start / kKeepEvery + 1) * kKeepEvery;
    if (auto mark = s.marks_.upper_bound(start); mark != s.marks_.end()) next = std::min(next, *mark);
    return next < start + rows - kRollback ? next - start : rows;
}

void Scheduler::evaluate(const std::vector<Part>& parts) {
    std::vector<Segment> segments;
    for (const auto& [s, rows] : parts) {
        auto tokens = s->generation_.pending().first(static_cast<std::size_t>(rows));
        segments.push_back({&*s->state_, tokens, s->options_.all_logits});
        rows_ += rows;
    }
    std::span<float> logits;
    try {
        logits = engine_.step(segments);
    } catch (...) {
        for (const auto& part : parts) drop(part.sequence, std::current_exception());
        return;
    }
    const auto vocab = static_cast<std::size_t>(engine_.model().config.vocab_size);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto count = (segments[i].all_logits ? segments[i].tokens.size() : 1) * vocab;
        try {
            advance(parts[i], logits.first(count));
        } catch (...) {  // nothing can be chosen from such logits
            drop(parts[i].sequence, std::current_exception());
        }
        logits = logits.subspan(count);
    }
}

// A pass that failed may have left some layers ahead of others: nothing of the state can be used.
void Scheduler::drop(const Held& held, std::exception_ptr error) {
    running_.erase(held->rank_);
    held->state_.reset();
    held->generation_.cancel();
    events_.push_back({SequenceEvent::Kind::failed, held, 0, {}, {}, std::move(error)});
}

// What follows from a pass for one sequence: states to keep, and a token if the end of what is known was reached.
void Scheduler::advance(const Part& part, std::span<float> logits) {
    const auto& held = part.sequence;
    auto& s = *held;
    auto& generation = s.generation_;
    const auto end = s.state_->length(), start = end - part.rows;
    generation.continue_at(static_cast<std::size_t>(end));
    s.bytes_ = s.state_->bytes();
    for (auto every = (start / kKeepEvery + 1) * kKeepEvery; every <= end; every += kKeepEvery)
        s.marks_.insert(every);
    while (!s.marks_.empty() && *s.marks_.begin() <= end) {
        keep(s, *s.marks_.begin());
        s.marks_.erase(s.marks_.begin());
    }
    if (generation.tokens().size() == generation.prompt_tokens())
        events_.push_back(
            {SequenceEvent::Kind::read, held, end, s.options_.all_logits ? logits : std::span<float>()});
    if (!generation.pending().empty()) return;
    SequenceEvent wrote{SequenceEvent::Kind::wrote, held};
    const auto vocab = static_cast<std::size_t>(engine_.model().config.vocab_size);
    if (!generation.finished()) wrote.text = generation.accept(logits.last(vocab));
    if (generation.finished()) retire(held);
    events_.push_back(std::move(wrote));
}

void Scheduler::keep(Sequence& s, std::int64_t length) {
    auto tokens = s.tokens().first(static_cast<std::size_t>(length));
    if (length == 0 || prefixes_.contains(s.options_.space, tokens)) return;
    if (!engine_.problem().empty()) return;  // nobody knows which weights the state is of
    // The part of the memory beyond the limit is for this moment; the next pass makes room again.
    if (engine_.kv_memory().bytes() > limit_ && !make_room(0)) return;
    auto saved = s.state_->checkpoint(length);
    if (options_.disk)
        options_.disk->store(s.options_.space, tokens, saved,
                             [&](std::int64_t bytes) { return evict_for(bytes); });
    prefixes_.insert(s.options_.space, tokens, std::move(saved));
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
    auto held = (fetches ? fetching_ : running_).rbegin()->second;
    if (fetches) {
        fetching_.erase(held->rank_);
        held->fetch_.reset();
    } else {
        retire(held);
    }
    ++preemptions_;
    held->asked_disk_ = false;
    waiting_.emplace(held->rank_, held);
}

// Evicts prefixes until so many bytes are free; false if that is not enough.
bool Scheduler::evict_for(std::int64_t bytes) {
    while (engine_.kv_memory().bytes() + bytes > limit_)
        if (!prefixes_.evict()) return false;
    return true;
}

// The same, and in need also takes back what the disk tier holds.
bool Scheduler::make_room(std::int64_t bytes) {
    return evict_for(bytes) || (options_.disk && options_.disk->release_memory() && evict_for(bytes));
}

}  // namespace cachalot
