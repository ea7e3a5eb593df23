#include "prefix/disk_reader.h"

#include <algorithm>

#include "base/background.h"
#include "base/error.h"

namespace cachalot {

DiskRead::DiskRead(const KvCodec& codec, KvCheckpoint known, std::span<const std::int32_t> tokens,
                   std::vector<Record> records)
    : tokens_(tokens.begin(), tokens.end()),
      records_(std::move(records)),
      length_(known.length + static_cast<std::int64_t>(tokens.size())),
      state_(std::move(known)),
      buffer_(state_.rings.get_allocator()) {
    CACHALOT_CHECK(!records_.empty());
    codec.make_room(state_, length_);
    const auto whole = length_ / TokenChain::kBlock * TokenChain::kBlock;
    const auto rows = codec.rows_bytes(whole, length_);
    const auto snapshot = records_.back().place.size - PageFiles::kHeader;
    buffer_.resize(
        static_cast<std::size_t>(std::max(codec.rows_bytes(0, TokenChain::kBlock),
                                          codec.are_rings(snapshot - rows, length_) ? snapshot : rows)));
}

std::optional<KvCheckpoint> DiskRead::take() {
    CACHALOT_CHECK(done());
    if (!good_) return std::nullopt;
    return std::move(state_);
}

DiskReader::DiskReader(const PageFiles& files, const KvCodec& codec, Ended ended)
    : files_(files),
      codec_(codec),
      ended_(std::move(ended)),
      thread_(start_thread("reading prefixes", [this] { work(); })) {}

DiskReader::~DiskReader() {
    {
        std::lock_guard lock(mutex_);
        quit_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void DiskReader::start(std::shared_ptr<DiskRead> read) {
    {
        std::lock_guard lock(mutex_);
        waiting_.push_back(std::move(read));
    }
    changed_.notify_all();
}

void DiskReader::wait(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, patience, [&] { return news_; });
    news_ = false;
}

bool DiskReader::settle() {
    auto given_up = [](const std::shared_ptr<DiskRead>& read) { return read.use_count() == 1; };
    std::unique_lock lock(mutex_);
    bool any = std::erase_if(waiting_, given_up) > 0;
    auto busy_for_nobody = [&] { return current_ && given_up(current_); };
    any = any || busy_for_nobody();
    changed_.wait(lock, [&] { return !busy_for_nobody(); });
    return any;
}

void DiskReader::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [&] { return quit_ || !waiting_.empty(); });
        if (quit_) return;
        current_ = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        perform(*current_);
        lock.lock();
        current_.reset();  // with its memory, if nobody wants it
        news_ = true;
        changed_.notify_all();
    }
}

void DiskReader::perform(DiskRead& read) {
    auto& state = read.state_;
    std::span<const std::int32_t> tokens(read.tokens_);
    for (const auto& record : read.records_) {
        if (quit_ || current_.use_count() == 1) return;
        const bool snapshot = &record == &read.records_.back();
        const auto count =
            snapshot ? static_cast<std::int64_t>(tokens.size())
                     : std::min<std::int64_t>(TokenChain::kBlock, static_cast<std::int64_t>(tokens.size()));
        const auto rows = codec_.rows_bytes(state.length, state.length + count);
        const auto bytes = snapshot ? record.place.size - PageFiles::kHeader : rows;
        std::string problem;
        try {
            if (snapshot && !codec_.are_rings(bytes - rows, read.length_))
                problem = "a record is of another size than its tokens";
            const auto payload = std::span(read.buffer_).first(static_cast<std::size_t>(bytes));
            if (problem.empty()) problem = files_.read(record.place, record.name, payload);
            if (problem.empty() && !codec_.read_rows(state, tokens.first(static_cast<std::size_t>(count)),
                                                     payload.first(static_cast<std::size_t>(rows))))
                problem = "a record holds other tokens than the index says";
        } catch (const std::exception& e) {  // of the device
            problem = e.what();
        }
        if (!problem.empty()) {
            ended_(record.name, problem);
            break;
        }
        tokens = tokens.subspan(static_cast<std::size_t>(count));
        if (!snapshot) continue;
        read.buffer_.resize(static_cast<std::size_t>(bytes));
        read.buffer_.erase(read.buffer_.begin(), read.buffer_.begin() + rows);
        state.rings = std::move(read.buffer_);
        read.good_ = true;
        ended_(record.name, {});
    }
    read.buffer_ = CountedBytes(read.buffer_.get_allocator());
    read.done_.store(true, std::memory_order_release);
}

}  // namespace cachalot
