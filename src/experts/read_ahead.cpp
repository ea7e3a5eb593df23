#include "experts/read_ahead.h"

#include <algorithm>
#include <utility>

namespace cachalot {

ReadAhead::ReadAhead(int first_memory, int places) {
    for (int i = 0; i < places; ++i) places_.push_back({first_memory + i});
}

ReadAhead::Place* ReadAhead::find(ExpertKey key) {
    const auto place =
        std::find_if(places_.begin(), places_.end(), [&](const Place& p) { return p.key == key; });
    return place == places_.end() ? nullptr : &*place;
}

void ReadAhead::plan(std::span<const Wanted> wanted, const std::function<bool(ExpertKey)>& withdraw) {
    // More than there are places would not be started before the next plan is made.
    wanted_.assign(wanted.begin(),
                   wanted.begin() + static_cast<std::ptrdiff_t>(std::min(wanted.size(), places_.size())));
    next_ = 0;
    for (Place& place : places_) {
        if (place.key == kNoKey) continue;
        place.wanted =
            std::any_of(wanted_.begin(), wanted_.end(), [&](const Wanted& w) { return w.key == place.key; });
        if (!place.wanted && (place.arrived || withdraw(place.key))) place = {place.memory};
    }
}

std::optional<ReadAhead::Start> ReadAhead::start() {
    for (; next_ < wanted_.size(); ++next_) {
        const auto [key, urgency] = wanted_[next_];
        if (Place* here = find(key)) {
            here->wanted = true;
            continue;
        }
        Place* place = find(kNoKey);
        if (!place) return {};
        *place = {place->memory, key, false, true};
        ++next_;
        return Start{key, place->memory, urgency};
    }
    return {};
}

bool ReadAhead::awaits(ExpertKey key) {
    const Place* place = find(key);
    return place && !place->arrived;
}

std::optional<ReadAhead::Taken> ReadAhead::take(ExpertKey key, int memory) {
    Place* place = find(key);
    if (!place) return {};
    const Taken taken{place->memory, place->arrived};
    *place = {memory};
    return taken;
}

bool ReadAhead::finished(ExpertKey key, bool readable) {
    Place* place = find(key);
    if (!place) return false;
    if (readable && place->wanted)
        place->arrived = true;
    else
        *place = {place->memory};
    return true;
}

}  // namespace cachalot
