// Which read is started next.
//
// Two megabytes each, six reads under way bring an SSD close to its full speed; more of them would only stand
// in the way of one that becomes urgent. Reads for idle times go one at a time, and only if nothing else is
// under way.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <limits>

#include "file/read_queue.h"

namespace cachalot {

class WaitingReads {
  public:
    // All of them, or none if it throws.
    void add(std::span<const QueuedRead> reads) {
        std::size_t added = 0;
        try {
            for (; added < reads.size(); ++added) of(reads[added].urgency).push_back(reads[added]);
        } catch (...) {
            while (added > 0) of(reads[--added].urgency).pop_back();
            throw;
        }
    }

    bool withdraw(std::uint64_t id, ReadClass urgency) {
        auto& waiting = of(urgency);
        const auto read =
            std::find_if(waiting.begin(), waiting.end(), [&](const QueuedRead& r) { return r.id == id; });
        if (read == waiting.end()) return false;
        waiting.erase(read);
        return true;
    }

    // The next read to start while so many are under way; none if there is none or those that wait have to go
    // on.
    std::optional<QueuedRead> take(std::size_t under_way) {
        for (std::size_t c = 0; c < kReadClasses; ++c) {
            if (waiting_[c].empty()) continue;
            if (under_way >= kMost[c]) return {};
            const QueuedRead read = waiting_[c].front();
            waiting_[c].pop_front();
            return read;
        }
        return {};
    }

  private:
    static constexpr std::array<std::size_t, kReadClasses> kMost = {std::numeric_limits<std::size_t>::max(),
                                                                    6, 6, 1};

    std::deque<QueuedRead>& of(ReadClass urgency) { return waiting_[static_cast<std::size_t>(urgency)]; }

    std::array<std::deque<QueuedRead>, kReadClasses> waiting_;
};

}  // namespace cachalot
