// A disk on which everything goes wrong that can: reads finish in any order, come back short or interrupted,
// and fail.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "file/read_queue.h"

namespace cachalot::test {

class FaultyQueue final : public ReadQueue {
  public:
    // Asked before each read; a result (-errno, or 0: the file has ended) takes its place.
    std::function<std::optional<std::int64_t>(const QueuedRead&)> fault;
    // Counted for whoever keeps a pointer.
    int reads = 0, under_way = 0;

    const char* name() const override { return "faulty"; }

    void submit(std::span<const QueuedRead> more) override {
        waiting_.insert(waiting_.end(), more.begin(), more.end());
        under_way = static_cast<int>(waiting_.size());
    }

    bool withdraw(std::uint64_t id, ReadClass) override {
        const auto read =
            std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& r) { return r.id == id; });
        if (read == waiting_.end() || pick(4) == 0) return false;  // it may have begun
        waiting_.erase(read);
        under_way = static_cast<int>(waiting_.size());
        return true;
    }

    std::optional<FinishedRead> next(bool wait) override {
        if (waiting_.empty() || (!wait && pick(2) == 0)) return {};
        const std::size_t i = pick(waiting_.size());
        const QueuedRead read = waiting_[i];
        waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
        under_way = static_cast<int>(waiting_.size());
        ++reads;
        if (fault)
            if (const auto result = fault(read)) return FinishedRead{read.id, *result};
        if (pick(4) == 0) return FinishedRead{read.id, pick(2) ? -EINTR : -EAGAIN};
        std::size_t size = read.size;
        if (size > 4096 && pick(3) == 0) size = 4096 + pick(size / 4096 - 1) * 4096;
        const auto result = ::pread(read.descriptor, read.to, size, static_cast<off_t>(read.offset));
        return FinishedRead{read.id, result < 0 ? -std::int64_t(errno) : result};
    }

  private:
    std::size_t pick(std::size_t n) {
        return n < 2 ? 0 : std::uniform_int_distribution<std::size_t>(0, n - 1)(random_);
    }

    std::mt19937 random_{5};
    std::vector<QueuedRead> waiting_;
};

}  // namespace cachalot::test
