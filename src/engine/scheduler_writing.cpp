// What follows from a pass: tokens, and states to keep.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "engine/scheduler.h"

namespace cachalot {
// Sequences choose their tokens side by side: each writes to what is its own. What they share comes after
// that.
void Scheduler::advance(const std::vector<Part>& parts, const Batch& batch, const PassOutput& output) {
    std::vector<Outcome> outcomes;
    std::vector<std::size_t> choosing;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto& generation = parts[i].sequence->generation_;
        const auto start = static_cast<std::int64_t>(generation.evaluated());
        generation.mark_evaluated(static_cast<std::size_t>(parts[i].rows));
        const bool of_prompt = generation.tokens().size() == generation.prompt_tokens();
        outcomes.push_back({start, of_prompt, generation.pending().empty()});
        if (outcomes.back().all_read) choosing.push_back(i);
    }
    if (!choosing.empty()) {
        const Traced span(engine_.options().trace, "sample");
        engine_.backend().sample(static_cast<int>(choosing.size()), [&](int c) {
            const auto i = choosing[static_cast<std::size_t>(c)];
            choose(parts[i], output.of(batch.sequences()[i]), outcomes[i]);
        });
    }
    if (drafter_ && !batch.has(RowsKind::prompt)) {
        std::size_t written = 0;
        for (const Outcome& outcome : outcomes) written += outcome.written.size();
        trial_.passed(draft_seconds_ > 0, static_cast<int>(written), static_cast<int>(parts.size()),
                      pass_seconds_ + draft_seconds_);
    }
    const auto now = std::chrono::steady_clock::now();
    for (auto i : choosing) {
        auto& times = parts[i].sequence->times_;
        if (outcomes[i].of_prompt) times.first_token = now;
        times.last_token = now;
    }
    for (std::size_t i = 0; i < parts.size(); ++i)
        settle(parts[i], output.of(batch.sequences()[i]), std::move(outcomes[i]));
}

// Chooses tokens from logits [.. 1 + drafted tokens, vocab].
void Scheduler::choose(const Part& part, std::span<float> logits, Outcome& outcome) const try {
    auto& generation = part.sequence->generation_;
    const auto vocab = static_cast<std::size_t>(engine_.model().config.vocab_size);
    logits = logits.last((1 + part.draft.size()) * vocab);
    outcome.accepted = generation.verify(part.draft, logits, [&](std::string text) {
        SequenceEvent wrote{SequenceEvent::Kind::wrote, part.sequence};
        wrote.text = std::move(text);
        wrote.logprobs = generation.logprobs();
        wrote.text_offset = generation.text_offset();
        wrote.length = generation.prompt_tokens() + generation.completion_tokens();
        wrote.last = generation.finished();
        outcome.written.push_back(std::move(wrote));
    });
} catch (...) {  // nothing can be chosen from such logits
    outcome.error = std::current_exception();
}

void Scheduler::settle(const Part& part, std::span<float> logits, Outcome outcome) {
    const auto& held = part.sequence;
    auto& s = *held;
    auto& generation = s.generation_;
    const auto [start, of_prompt, all_read, written, accepted, error] = std::move(outcome);
    if (of_prompt)
        events_.push_back({SequenceEvent::Kind::read, held, start + part.rows,
                           s.options_.all_logits ? logits : std::span<float>()});
    events_.insert(events_.end(), written.begin(), written.end());
    if (error) return drop(held, error);
    if (!part.draft.empty() && !part.forced) {
        s.drafts_.judged(accepted, static_cast<int>(part.draft.size()));
        judge(part, accepted);
        drafts_.add({1, std::ssize(part.draft), accepted});
    }
    const auto end = static_cast<std::int64_t>(generation.evaluated());
    if (end < s.state_->length()) s.state_->rollback(end);
    s.bytes_ = s.state_->bytes();
    if (end >= s.proven_at_) s.proven_at_ = 0;
    for (auto every = (start / kKeepEvery + 1) * kKeepEvery; every <= end; every += kKeepEvery)
        s.marks_.insert(every);
    while (!s.marks_.empty() && *s.marks_.begin() <= end) {
        keep(s, *s.marks_.begin());
        s.marks_.erase(s.marks_.begin());
    }
    if (all_read && generation.finished()) retire(held);
}

}  // namespace cachalot
