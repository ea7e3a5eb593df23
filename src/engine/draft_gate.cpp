#include "engine/draft_gate.h"

#include <algorithm>
#include <vector>

#include "engine/drafting.h"

namespace cachalot {
namespace {

constexpr double kPassKept = 0.98;     // of the weight of earlier passes, with each pass
constexpr double kRecordKept = 0.95;   // of what is known of a sequence's drafts, with each draft
constexpr double kSkippedKept = 0.99;  // the same with each draft that was not made
constexpr double kNewestDraft = 0.1;   // weight of the newest pass of the drafter
constexpr double kLeastSpread = 0.05;  // variance of the rows from which a slope can be told

std::vector<double> survival_of(double acceptance, int most) {
    std::vector<double> survival;
    double alive = 1;
    for (int i = 0; i < most; ++i) survival.push_back(alive *= acceptance);
    return survival;
}

}  // namespace

void DraftRecord::forget(double part) {
    right_ = kPriorRight + (right_ - kPriorRight) * part;
    seen_ = kPriorSeen + (seen_ - kPriorSeen) * part;
}

void DraftRecord::judged(int accepted_now, int proposed_now) {
    forget(kRecordKept);
    right_ += accepted_now;
    seen_ +=
        accepted_now + (accepted_now < proposed_now);  // nothing is known of what follows the first mistake
    accepted += accepted_now;
    proposed += proposed_now;
    ++drafts;
}

void DraftRecord::skipped() { forget(kSkippedKept); }

// Least squares with a line.
void DraftGate::passed(int rows, double seconds) {
    for (double* sum : {&weight_, &rows_, &seconds_, &rows_rows_, &rows_seconds_}) *sum *= kPassKept;
    weight_ += 1;
    rows_ += rows;
    seconds_ += seconds;
    rows_rows_ += double(rows) * rows;
    rows_seconds_ += rows * seconds;
    const double mean_rows = rows_ / weight_, mean_seconds = seconds_ / weight_;
    const double spread = rows_rows_ / weight_ - mean_rows * mean_rows;
    if (spread > kLeastSpread)
        each_ = std::max(0.0, (rows_seconds_ / weight_ - mean_rows * mean_seconds) / spread);
    if (known()) fixed_ = std::max(0.0, mean_seconds - each_ * mean_rows);
}

void DraftGate::drafted(int passes, double seconds) {
    if (passes < 1) return;
    const double one = seconds / passes;
    drafting_ = drafting_ > 0 ? drafting_ * (1 - kNewestDraft) + one * kNewestDraft : one;
}

bool DraftGate::pays(double alive, int sequences, int beside) const {
    if (!known()) return true;
    const double token = (fixed_ + each_ * (sequences + beside)) / sequences;
    return alive * token > (each_ + drafting_ / sequences) * kLeastGain;
}

int DraftGate::length(std::span<const double> survival, int sequences, int beside) const {
    if (!known()) return static_cast<int>(survival.size());  // that is how it becomes known
    const double pass = fixed_ + each_ * (sequences + beside);
    const double token = pass / sequences;  // seconds for a token without drafts
    double best = 0, expected = 0;
    int length = 0;
    for (int n = 1; n <= std::ssize(survival); ++n) {
        expected += survival[static_cast<std::size_t>(n - 1)];
        const double gain = expected * token - n * each_ * kLeastGain;
        if (gain > best) {
            best = gain;
            length = n;
        }
    }
    return length;
}

double DraftGate::gain(double drafted, double accepted) const {
    const double pass = fixed_ + each_ * (1 + drafted);
    return known() && pass > 0 ? (1 + accepted) * (fixed_ + each_) / pass : 0;
}

int DraftGate::length(const DraftRecord& record, int sequences, int beside, int most) const {
    return length(survival_of(record.acceptance(), most), sequences, beside);
}

}  // namespace cachalot
