// What is drafted for a pass: tokens that are forced, that have followed before in the text, or that the
// model's drafter guesses.
#include <algorithm>
#include <deque>
#include <utility>

#include "base/error.h"
#include "engine/scheduler.h"

namespace cachalot {
namespace {

using Clock = std::chrono::steady_clock;

static_assert(kLongestDraft < kRollback);

// From so many verified tokens on it can be told whether a drafter keeps what it promises.
constexpr double kEnoughToTell = 400;

}  // namespace

// Adds tokens that are forced or drafted to the known ones, as far as memory suffices.
void Scheduler::draft(std::vector<Part>& parts) {
    draft_seconds_ = 0;
    std::vector<Part*> writers;
    std::int64_t beside = 0;
    for (auto& part : parts)
        if (part.sequence->rows_kind() == RowsKind::decode)
            writers.push_back(&part);
        else
            beside += part.rows;
    const Company company{static_cast<int>(writers.size()), static_cast<int>(beside)};
    std::erase_if(writers, [](const Part* part) { return part->sequence->in_doubt(); });
    for (Part* part : writers) force(*part);
    std::erase_if(writers, [&](const Part* part) {
        return part->forced || options_.drafting == Drafting::off || longest_draft(*part->sequence) == 0;
    });
    if (drafter_)
        ask_drafter(writers, company);
    else
        for (Part* part : writers) look_up(*part, company);

    std::int64_t need = 0;
    for (const auto& part : parts)
        need += part.sequence->state_->growth(part.rows + static_cast<std::int64_t>(part.draft.size()));
    if (!has_room(need))
        for (auto& part : parts) part.draft.clear();
}

// The last token that is written is not evaluated, so it need not be drafted.
int Scheduler::most_beside(const Sequence& s, int most) const {
    const auto context = engine_.context() - s.state_->length() - 1;
    const auto left = static_cast<std::int64_t>(s.generation_.left()) - 1;
    return static_cast<int>(std::clamp(std::min(context, left), std::int64_t{0}, std::int64_t{most}));
}

int Scheduler::longest_draft(const Sequence& s) const {
    return most_beside(s, std::min(options_.longest_draft, s.options_.longest_draft));
}

void Scheduler::force(Part& part) const {
    part.draft = part.sequence->generation_.forced();
    part.forced = !part.draft.empty();
    const int most = most_beside(*part.sequence, options_.longest_draft);
    part.draft.resize(std::min(part.draft.size(), static_cast<std::size_t>(most)));
}

const char* Scheduler::drafts_from() const {
    if (drafter_) return engine_.drafter()->kind == DrafterKind::mtp ? "mtp" : "dspark";
    return options_.drafting == Drafting::off ? "off" : "lookup";
}

DraftFigures Scheduler::drafts() const {
    DraftFigures all = drafts_;
    if (drafter_) {
        all.gain = trial_.known() ? trial_.gain() : 0;
    } else if (all.drafts > 0) {
        const auto drafts = static_cast<double>(all.drafts);
        all.gain = gate_.gain(static_cast<double>(all.drafted) / drafts, all.mean_accepted());
    }
    return all;
}

void Scheduler::look_up(Part& part, const Company& company) {
    auto& s = *part.sequence;
    if (!s.lookup_) s.lookup_ = std::make_unique<LookupDrafter>();
    auto proposed = s.lookup_->propose(s.tokens(), longest_draft(s));
    proposed.resize(s.generation_.allowed(proposed));
    if (proposed.empty()) return;
    if (options_.drafting == Drafting::automatic)
        proposed.resize(static_cast<std::size_t>(
            gate_.length(s.drafts_, company.writers, company.beside, static_cast<int>(proposed.size()))));
    if (proposed.empty()) s.drafts_.skipped();
    part.draft = std::move(proposed);
}

// All who draft do so in one pass of the drafter.
void Scheduler::ask_drafter(std::vector<Part*> parts, const Company& company) {
    const bool always = options_.drafting == Drafting::drafter;
    auto most = [&](const Part* part) {
        return std::min(longest_draft(*part->sequence), drafter_->block_size());
    };
    if (parts.empty() || (!always && !trial_.next(company.writers))) return;
    const Traced span(engine_.options().trace, "draft");
    const auto begin = Clock::now();
    std::vector<std::int32_t> expected;  // soon: the newest tokens, and then those that are drafted
    for (const Part* part : parts) expected.push_back(part->sequence->tokens().back());
    engine_.expect(expected);
    std::deque<Generation::Guess> guesses;
    std::vector<ModelDrafter::Request> requests;
    for (Part* part : parts) {
        auto& s = *part->sequence;
        auto* guess = &guesses.emplace_back(s.generation_);
        requests.push_back({&*s.state_, s.tokens().back(), most(part),
                            [guess](std::span<float> logits) { return guess->next(logits); }});
        if (!always)
            requests.back().goes_on = [&](std::span<const float> confidences) {
                return gate_.pays(calibration_->survival(confidences).back(), company.writers,
                                  company.beside);
            };
    }
    std::vector<ModelDrafter::Draft> drafts;
    try {
        drafts = drafter_->propose(requests);
    } catch (const std::exception& error) {  // the pass itself will tell who cannot go on
        engine_.options().log.often(LogLevel::warn, "nothing could be drafted", {{"error", error.what()}});
        return;
    }
    draft_seconds_ = std::chrono::duration<double>(Clock::now() - begin).count();
    std::size_t longest = 0;
    for (const auto& draft : drafts) {
        longest = std::max(longest, draft.tokens.size());
        expected.insert(expected.end(), draft.tokens.begin(), draft.tokens.end());
    }
    engine_.expect(std::move(expected));
    gate_.drafted(drafter_->passes(longest), draft_seconds_);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto& [tokens, confidences] = drafts[i];
        const auto survival = calibration_->survival(confidences);
        const auto length =
            always ? tokens.size()
                   : static_cast<std::size_t>(gate_.length(survival, company.writers, company.beside));
        tokens.resize(length);
        confidences.resize(length);
        parts[i]->draft = std::move(tokens);
        parts[i]->confidences = std::move(confidences);
    }
}

void Scheduler::judge(const Part& part, int accepted) {
    if (part.confidences.empty()) return;
    calibration_.judged(part.confidences, accepted);
    const auto& [seen, right, promised] = calibration_->sums();
    if (drafter_doubted_ || seen < kEnoughToTell || right > promised / 2) return;
    drafter_doubted_ = true;
    engine_.options().log.write(LogLevel::warn,
                                "the drafter is right far less often than it says; is it of another model?",
                                {{"right", right / seen}, {"promised", promised / seen}});
}

}  // namespace cachalot
