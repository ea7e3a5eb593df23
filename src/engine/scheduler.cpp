#include "engine/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "engine/lookup_drafter.h"

namespace cachalot {
namespace {

constexpr std::int64_t kClassPasses = 128;
constexpr std::int64_t kScoredRows = 64;  // whose logits of the whole vocabulary are in memory at once
constexpr std::chrono::milliseconds kDiskPatience{
    10};  // within which new work is noticed while there is none
constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max() / 2;

std::int64_t size(std::span<const std::int32_t> tokens) { return static_cast<std::int64_t>(tokens.size()); }

}  // namespace

std::int64_t Scheduler::least_memory(const Engine& engine) {
    const KvLayout& layout = engine.kv_pool()->layout();
    // A whole sequence, the copies of shared pages, and a checkpoint for a moment, which is smaller than an
    // empty state.
    return layout.bytes_at(engine.context()) + layout.growth(0, 0) + layout.bytes_at(0);
}

Scheduler::Scheduler(Engine& engine, const SchedulerOptions& options)
    : engine_(engine),
      options_(options),
      layout_(engine.kv_pool()->layout()),
      limit_(options.memory ? options.memory - layout_.bytes_at(0) : kNoLimit),
      calibration_(engine.options().draft_calibration, engine.options().log) {
    if (options.parallel < 1 || options.parallel > 1024)
        fail("parallel: {} is out of range (1 to 1024)", options.parallel);
    if (options.longest_draft < 1 || options.longest_draft > kLongestDraft)
        fail("draft-max: {} is out of range (1 to {})", options.longest_draft, kLongestDraft);
    if (options.drafting == Drafting::drafter && !engine.drafter())
        fail("drafts by the model's drafter: it has none, or it is not used");
    if (engine.drafter() &&
        (options.drafting == Drafting::drafter || options.drafting == Drafting::automatic))
        drafter_ = make_model_drafter(engine);
    if (options.beside < 1) fail("beside: {} is out of range", options.beside);
    if (options.headroom < 1) fail("headroom: {} is out of range", options.headroom);
    if (auto least = least_memory(engine); options.memory && options.memory < least)
        fail(
            "the memory for attention states, {} bytes, does not hold one sequence of {} tokens: "
            "that takes {} bytes",
            options.memory, engine.context(), least);
}

void Scheduler::submit(std::shared_ptr<Sequence> sequence) {
    auto& s = *sequence;
    s.rank_ = {passes_ + kClassPasses * static_cast<std::int64_t>(s.options_.priority), submitted_++};
    wait_again(sequence);
}

void Scheduler::cut(Sequence& s, std::size_t length) {
    s.generation_.cut(length);
    const auto evaluated = static_cast<std::int64_t>(s.generation_.evaluated());
    if (s.state_ && s.state_->length() > evaluated) s.state_->rollback(evaluated);
}

std::string Scheduler::stop(const std::shared_ptr<Sequence>& sequence, std::optional<std::size_t> length) {
    if (length) cut(*sequence, *length);
    auto same = [&](const auto& entry) { return entry.second == sequence; };
    if (auto found = std::find_if(waiting_.begin(), waiting_.end(), same); found != waiting_.end()) {
        sequence->wanted_.reset();
        waiting_.erase(found);
    } else if (found = std::find_if(fetching_.begin(), fetching_.end(), same); found != fetching_.end()) {
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
    if (auto parts = plan(); !parts.empty()) {
        draft(parts);
        evaluate(parts);
    } else if (!fetching_.empty())
        options_.disk->wait(kDiskPatience);
    return std::move(events_);
}

std::int64_t Scheduler::running_bytes() const {
    std::int64_t total = 0;
    for (const auto& [rank, sequence] : running_) total += sequence->state_->bytes();
    return total;
}

// What the next pass does, with memory for it.
std::vector<Scheduler::Part> Scheduler::plan() {
    while (true) {
        auto parts = share_rows();
        std::int64_t need = 0;
        for (const auto& part : parts) need += part.sequence->state_->growth(part.rows);
        if (has_room(need)) return parts;
        const bool alone = running_.size() + fetching_.size() < 2;
        if ((alone || bytes_together() <= limit_) && make_room(need)) return parts;
        if (alone) return parts;  // there is room for one, see the constructor
        preempt();
    }
}

// Who takes part in the next pass, with all rows that are pending. One that is in doubt does so by itself, in
// every other pass.
std::vector<Scheduler::Part> Scheduler::participants() const {
    std::vector<Part> sound, doubted;
    for (const auto& [rank, s] : running_)
        (s->in_doubt() ? doubted : sound).push_back({s, size(s->generation_.pending()), {}});
    if (doubted.empty() || (!sound.empty() && passes_ % 2)) return sound;
    doubted.resize(1);
    return doubted;
}

std::vector<Scheduler::Part> Scheduler::share_rows() const {
    auto parts = participants();
    auto by_length = [](const Part& a, const Part& b) { return a.rows < b.rows; };
    std::stable_sort(parts.begin(), parts.end(), by_length);
    auto readers =
        std::find_if(parts.begin(), parts.end(), [](const Part& p) { return p.sequence->reads(); });
    auto left =
        static_cast<std::int64_t>(readers == parts.begin() ? engine_.options().chunk : options_.beside);
    for (auto part = readers; part != parts.end(); ++part) {
        auto fair = std::max<std::int64_t>(left / (parts.end() - part), 1);
        if (part->sequence->options_.all_logits) fair = std::min(fair, kScoredRows);
        part->rows = std::min(part->rows, fair);
        cut_at_stop(*part);
        left -= part->rows;
    }
    std::stable_partition(parts.begin(), parts.end(), [](const Part& part) { return !part.context; });
    return parts;
}

// The next length at which the state is to be kept or is complete.
std::int64_t Scheduler::next_stop(const Sequence& s) const {
    const auto start = s.state_->length();
    auto next = std::min((start / kKeepEvery + 1) * kKeepEvery, size(s.tokens()));
    if (auto mark = s.marks_.upper_bound(start); mark != s.marks_.end()) next = std::min(next, *mark);
    return next;
}

// A state can be kept as it was up to kRollback tokens ago, so only stops that lie further back end a chunk.
// What is continued from a kept state finds as many whole tokens before it as at the end of a prompt.
void Scheduler::cut_at_stop(Part& part) const {
    const Sequence& s = *part.sequence;
    const auto until_stop = next_stop(s) - s.state_->length();
    const auto context = s.options_.all_logits ? 0
                                               : static_cast<std::int64_t>(engine_.context_rows(
                                                     *s.state_, static_cast<std::size_t>(until_stop)));
    part.context = context > 0;
    if (part.context)
        part.rows = std::min(part.rows, context);
    else if (until_stop < part.rows - kRollback)
        part.rows = until_stop;
}

void Scheduler::evaluate(const std::vector<Part>& parts) {
    Batch batch;
    std::vector<std::int32_t> tokens;
    for (const Part& part : parts) {
        const auto& [s, rows, draft, forced, confidences, context] = part;
        const auto pending = s->generation_.pending();
        CACHALOT_CHECK(s->state_->length() + size(pending) == size(s->tokens()));
        const auto known = pending.first(static_cast<std::size_t>(rows));
        if (context) {
            batch.add_context(*s->state_, known);
            continue;
        }
        if (draft.empty()) {
            batch.add(*s->state_, known, s->rows_kind(),
                      s->options_.all_logits ? Batch::Logits::all : Batch::Logits::last);
            continue;
        }
        tokens.assign(known.begin(), known.end());
        tokens.insert(tokens.end(), draft.begin(), draft.end());
        batch.add(*s->state_, tokens, RowsKind::verify, Batch::Logits::all);
    }
    rows_ = batch.rows();
    PassOutput output;
    const auto begin = std::chrono::steady_clock::now();
    try {
        output = engine_.step(batch);
    } catch (...) {
        return pass_failed(parts, std::current_exception());
    }
    pass_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!batch.has(RowsKind::prompt)) gate_.passed(batch.rows(), pass_seconds_);
    advance(parts, batch, output);
}

// Some layers may be ahead of others now. An intact state is as it was before the pass; of another one
// nothing can be used.
void Scheduler::pass_failed(const std::vector<Part>& parts, const std::exception_ptr& error) {
    engine_.options().log.often(LogLevel::warn, "a pass of the model failed",
                                {{"sequences", parts.size()}, {"error", cause_of(error)}});
    if (!engine_.problem().empty()) {  // there are no weights to try again with
        for (const auto& part : parts) drop(part.sequence, error);
        return;
    }
    for (const auto& [held, rows, draft, forced, confidences, context] : parts) {
        auto& s = *held;
        const bool intact = s.state_->intact();
        if (s.in_doubt()) {  // it was by itself
            if (intact) keep(s, s.state_->length());
            drop(held, error);
            continue;
        }
        s.proven_at_ = s.state_->length() + rows;
        if (intact) continue;
        running_.erase(s.rank_);
        s.state_.reset();
        wait_again(held);
    }
}

void Scheduler::drop(const Held& held, std::exception_ptr error) {
    running_.erase(held->rank_);
    held->state_.reset();
    held->generation_.cancel();
    SequenceEvent failed{SequenceEvent::Kind::failed, held};
    failed.error = std::move(error);
    events_.push_back(std::move(failed));
}

}  // namespace cachalot
