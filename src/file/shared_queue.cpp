#include "file/shared_queue.h"

#include <deque>
#include <utility>

namespace cachalot {
namespace {

struct Shared {
    std::unique_ptr<ReadQueue> queue;
    std::vector<std::deque<FinishedRead>> finished;  // [owners], not taken yet
};

// A read is known to the queue by its owner's id times the number of owners, plus the owner's number.
class Share final : public ReadQueue {
  public:
    Share(std::shared_ptr<Shared> shared, std::size_t owner) : shared_(std::move(shared)), owner_(owner) {}

    const char* name() const override { return shared_->queue->name(); }

    void submit(std::span<const QueuedRead> reads) override {
        std::vector<QueuedRead> ours(reads.begin(), reads.end());
        for (auto& read : ours) read.id = shared_id(read.id);
        shared_->queue->submit(ours);
        unclaimed_ += ours.size();
    }

    bool withdraw(std::uint64_t id, ReadClass urgency) override {
        if (!shared_->queue->withdraw(shared_id(id), urgency)) return false;
        --unclaimed_;
        return true;
    }

    std::optional<FinishedRead> next(bool wait) override {
        if (unclaimed_ == 0) return {};
        auto& ours = shared_->finished[owner_];
        while (ours.empty()) {
            const auto read = shared_->queue->next(wait);
            if (!read) return {};
            shared_->finished[read->id % owners()].push_back({read->id / owners(), read->result});
        }
        const FinishedRead read = ours.front();
        ours.pop_front();
        --unclaimed_;
        return read;
    }

  private:
    std::size_t owners() const { return shared_->finished.size(); }
    std::uint64_t shared_id(std::uint64_t id) const { return id * owners() + owner_; }

    const std::shared_ptr<Shared> shared_;
    const std::size_t owner_;
    std::size_t unclaimed_ = 0;  // submitted and not yet returned by next()
};

}  // namespace

std::vector<std::unique_ptr<ReadQueue>> share_queue(std::unique_ptr<ReadQueue> queue, std::size_t owners) {
    auto shared = std::make_shared<Shared>();
    shared->queue = std::move(queue);
    shared->finished.resize(owners);
    std::vector<std::unique_ptr<ReadQueue>> shares;
    for (std::size_t owner = 0; owner < owners; ++owner)
        shares.push_back(std::make_unique<Share>(shared, owner));
    return shares;
}

}  // namespace cachalot
