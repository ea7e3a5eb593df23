// Prefixes on their way from disk to memory, while the model computes for others.
//
// All memory of a read is allocated before it begins, on the thread that asks, so that whoever counts memory
// knows at once what there will be; the reader's thread fills it. A read is given up by letting go of it: the
// thread holds one reference, and stops at the next record when it finds that nobody else has one.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "prefix/page_files.h"
#include "state/kv_codec.h"

namespace cachalot {

class DiskRead {
  public:
    struct Record {
        Place place;
        ChainKey name;
    };
    // The state after `known` and `tokens`, which are those that `known` lacks; its records: one for each
    // block, and last the snapshot.
    DiskRead(const KvCodec& codec, KvCheckpoint known, std::span<const std::int32_t> tokens,
             std::vector<Record> records);

    std::int64_t length() const { return length_; }  // tokens of the prefix
    bool done() const { return done_.load(std::memory_order_acquire); }

    // Once, when it is done: the state, or nothing if the records were no good.
    std::optional<KvCheckpoint> take();

  private:
    friend class DiskReader;
    const std::vector<std::int32_t> tokens_;
    const std::vector<Record> records_;
    std::int64_t length_;
    KvCheckpoint state_;  // with room for all rows
    CountedBytes buffer_;
    bool good_ = false;
    std::atomic<bool> done_ = false;
};

class DiskReader {
  public:
    // `ended` is told, on the reader's thread, of snapshots that were read, and of the record that was no
    // good and why.
    using Ended = std::function<void(const ChainKey& name, const std::string& problem)>;
    DiskReader(const PageFiles& files, const KvCodec& codec, Ended ended);
    ~DiskReader();  // what is not read by then is given up

    void start(std::shared_ptr<DiskRead> read);

    // Returns when a read is done that was not when this was called last, but soon in any case.
    void wait(std::chrono::milliseconds patience);

    // Returns when reads that were given up hold no memory any more; true if there were any.
    bool settle();

  private:
    void work();
    void perform(DiskRead& read);

    const PageFiles& files_;
    const KvCodec& codec_;
    const Ended ended_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::shared_ptr<DiskRead>> waiting_;
    std::shared_ptr<DiskRead> current_;  // written by the thread only
    bool news_ = false;
    std::atomic<bool> quit_ = false;
    std::thread thread_;  // last: it uses the rest
};

}  // namespace cachalot
