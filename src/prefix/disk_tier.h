// Prefixes that survive the process: checkpoints on disk, behind those in memory.
//
// A checkpoint is written as blocks of kBlock tokens, which all checkpoints with that beginning share
// (token_chain.h, kv_codec.h), and a snapshot of its own: the tokens beyond the last whole block, and the
// rings. So a further checkpoint of a conversation costs what is new in it, wherever conversations part.
//
//     lock             who holds it writes; a second process does without the tier
//     index.db         what there is (disk_index.h)
//     pages-000001 ..  the records (page_files.h)
//
// One thread writes. It gets copies, so a state in memory can go, or go on, meanwhile; what would make the
// queue longer than its limit is left out. Another one reads (disk_reader.h). What both hold is counted as
// memory of states, and can be had back when there is need of it. A record is on the disk before the index
// tells of it, so that a process which dies at any moment leaves what was complete before. Whatever goes
// wrong costs a prefix that has to be computed again, no more: an error while writing is counted and the
// checkpoint left out, a record that is not what the index says is forgotten, and an index that is broken is
// made anew when the folder is opened. The log is told why.
//
// The tokens are in the files as they are. Folder and files are the owner's alone.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>

#include "base/background_queue.h"
#include "base/log.h"
#include "prefix/disk_index.h"
#include "prefix/disk_reader.h"
#include "prefix/disk_tier_stats.h"
#include "state/kv_codec.h"

namespace cachalot {

struct DiskTierOptions {
    std::filesystem::path folder;                       // made if it is not there
    std::int64_t budget = std::int64_t(32) << 30;       // bytes of records
    std::int64_t queue = std::int64_t(64) << 20;        // bytes that wait to be written
    std::int64_t file_limit = std::int64_t(256) << 20;  // bytes of a page file
    ChainKey model{};                                   // what the states depend on; others' are not found
    std::string model_name;                             // for people
    FileCalls* calls = nullptr;                         // null: the operating system; must outlive the tier
    Log log = {};                                       // of what goes wrong
};

// The lock of a folder; held until it is destroyed.
class DiskTierLock {
  public:
    // Throws Error: another process holds it, or the folder cannot be used or is open to others.
    explicit DiskTierLock(const std::filesystem::path& folder);

  private:
    UniqueFd file_;
};

class DiskTier {
  public:
    // `pool`: of the model's states. Throws Error if the folder cannot be used, another process uses it or a
    // thread is refused.
    DiskTier(const DiskTierOptions& options, std::shared_ptr<KvPool> pool);
    ~DiskTier();  // when all that waits is written

    // The rest but stats() and flush() is for one thread, and none of it waits for the disk unless it says
    // so. Nothing of it throws for what is wrong on the disk.

    // Tokens of the longest snapshot that is a prefix; 0: none.
    std::int64_t find(const std::string& space, std::span<const std::int32_t> tokens);

    // Begins to read the state after the first `length` tokens, which find() told of. `known`: the state of a
    // prefix of them, whose rows are shared instead of read; may be null. Null if it is not there any more.
    std::shared_ptr<DiskRead> fetch(const std::string& space, std::span<const std::int32_t> tokens,
                                    std::int64_t length, const KvCheckpoint* known);
    // Returns when something that was being read is done, but soon in any case.
    void wait(std::chrono::milliseconds patience) { reader_->wait(patience); }

    // `room` is asked whether there is memory for a copy of that many bytes; without it nothing is stored.
    using Room = std::function<bool(std::int64_t bytes)>;
    void store(const std::string& space, std::span<const std::int32_t> tokens, const KvCheckpoint& state,
               const Room& room = {});

    // Gives up what waits to be written, and waits for what is being written or was being read for somebody
    // who gave it up. True if any memory has become free.
    bool release_memory();

    // A use of the snapshot of exactly these tokens, if there is one.
    void touch(const std::string& space, std::span<const std::int32_t> tokens);

    DiskTierStats stats() const;
    void flush();  // returns when nothing waits

  private:
    struct Piece {
        ChainKey key, parent;
        std::int64_t length;  // tokens up to its end
        bool snapshot;
        CountedBytes payload;
    };
    struct Job {
        std::vector<Piece> pieces;  // the snapshot last
        ChainKey root{};
        std::vector<ChainKey> used, forgotten;  // snapshots; blocks or snapshots
        std::int64_t bytes = 0;
    };

    void open_index();
    void ended(const ChainKey& name, const std::string& problem);
    bool queued(const ChainKey& key);
    void forget_waiting(const Job& job);
    void push(Job job);
    template <class Work>
    auto guarded(const Work& work) -> decltype(work());

    void perform(const Job& job);  // this and the rest: on the writer's thread
    void write(const Job& job);
    void make_room(std::int64_t bytes, const ChainKey& wanted);
    void forget(const std::vector<ChainKey>& keys);
    void give_back(const std::vector<Place>& places);

    const DiskTierOptions options_;
    const KvCodec codec_;
    FileCalls calls_;
    DiskTierLock lock_;
    PageFiles files_;
    std::optional<DiskIndex> index_;  // the writer's
    std::optional<DiskIndex> known_;  // the caller's
    std::atomic<std::int64_t> bytes_ = 0, written_ = 0, skipped_ = 0, evictions_ = 0, write_errors_ = 0,
                              read_errors_ = 0;
    std::mutex waiting_mutex_;
    std::set<ChainKey> waiting_;                  // names of the pieces that are to be written
    std::optional<BackgroundQueue<Job>> writer_;  // last: these two use the rest, and the reader the writer
    std::optional<DiskReader> reader_;
};

}  // namespace cachalot
