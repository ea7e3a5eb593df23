// Experts that are read before a router asks for them: which, and into which memory.
//
// There are a few places of memory beside the slots of the cache. An expert that is read ahead gets one of
// them and nobody's slot: nothing is evicted for a guess, and the cache's books (expert_cache.h) never learn
// of it, so that they are what the simulator's are. When the router does ask for the expert, the cache finds
// a slot for it as for any other, and the slot changes memory with the place: nothing is copied, and the
// place is free for the next one.
//
// What to read is planned anew at every layer, in the order in which it will be needed. A place whose expert
// is not in the plan any more is given to another one as soon as nothing is being read into it.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "experts/policy/replacement_policy.h"
#include "file/read_queue.h"

namespace cachalot {

class ReadAhead {
  public:
    struct Wanted {
        ExpertKey key;
        ReadClass urgency;
    };
    struct Start {  // a read to start
        ExpertKey key;
        int memory;
        ReadClass urgency;
    };
    struct Taken {
        int memory;
        bool arrived;
    };

    // `places` pieces of memory with the numbers from `first_memory` on.
    ReadAhead(int first_memory, int places);

    int places() const { return static_cast<int>(places_.size()); }

    // What is wanted from now on, most urgent first. `withdraw` is asked for what is not wanted any more and
    // has not arrived: true if its read had not begun.
    void plan(std::span<const Wanted> wanted, const std::function<bool(ExpertKey)>& withdraw);

    // The next to read for which there is a place.
    std::optional<Start> start();

    // Whether it is being read.
    bool awaits(ExpertKey key);

    // Hands over the memory of an expert, filled or being filled, for other memory. None if it is not here.
    std::optional<Taken> take(ExpertKey key, int memory);

    // A read is finished; false if it was none of these.
    bool finished(ExpertKey key, bool readable);

  private:
    struct Place {
        int memory;
        ExpertKey key = kNoKey;
        bool arrived = false, wanted = false;
    };
    Place* find(ExpertKey key);

    std::vector<Place> places_;
    std::vector<Wanted> wanted_;  // from next_ on not looked at yet
    std::size_t next_ = 0;
};

}  // namespace cachalot
