#include "engine/draft_trial.h"

#include <algorithm>

#include "engine/drafting.h"

namespace cachalot {
namespace {

constexpr double kNewest = 0.2;  // weight of the newest pass

}  // namespace

// What was measured for some sequences tells little of twice as many.
void DraftTrial::begin(int sequences) {
    if (sequences < 2 * sequences_ && sequences_ < 2 * sequences) return;
    const int cold = cold_;
    *this = {};
    cold_ = cold;
    sequences_ = sequences;
}

bool DraftTrial::next(int sequences) {
    begin(sequences);
    if (plain_.passes < kEnough) return false;
    if (drafted_.passes < kEnough) return true;
    const bool better = gain() > kLeastGain;
    if (looks_ > 0) {
        --looks_;
        return !better;
    }
    if (--until_look_ > 0) return better;
    // One pass without drafts costs little; of drafts, a few tell more.
    looks_ = better ? 0 : 1;
    interval_ = better ? kLookAgain : std::min(2 * interval_, kLongest);
    until_look_ = interval_;
    return !better;
}

void DraftTrial::passed(bool drafted, int tokens, int sequences, double seconds) {
    if (cold_ > 0) {
        --cold_;
        return;
    }
    begin(sequences);
    if (tokens < 1) return;
    Way& way = drafted ? drafted_ : plain_;
    const double token = seconds * sequences / tokens;
    way.seconds = way.passes < kEnough ? (way.seconds * way.passes + token) / (way.passes + 1)
                                       : way.seconds * (1 - kNewest) + token * kNewest;
    ++way.passes;
}

double DraftTrial::gain() const {
    return known() && drafted_.seconds > 0 ? plain_.seconds / drafted_.seconds : 1;
}

}  // namespace cachalot
