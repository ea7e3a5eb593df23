// What `serve` keeps on disk: prefixes, and turns that called tools.
//
// Prefixes belong to one model, and which one that is takes reading all of it once (content_fingerprint.h): minutes, if it
// is large and on a slow disk. So that is done by a thread beside the server, which answers meanwhile; the prefixes are
// opened when it is done. Where the hash of the files is kept from before, that is at once.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "engine/engine.h"
#include "prefix/disk_tier.h"
#include "service/turn_store.h"

namespace cachalot::cli {

struct ServeDiskOptions {
    std::string folder;  // empty or "off": nothing is kept
    std::int64_t budget = 0;
    std::string model_name;
};

class ServeDisk {
  public:
    // Logs what cannot be kept, and why: the server does without. The log is the engine's. The engine must outlive this, which must
    // outlive whoever uses what it gives.
    ServeDisk(const ServeDiskOptions& options, Engine& engine);
    ~ServeDisk();

    // Returns when prefixes are open or will not be, or when the time is over; then it says that it takes longer.
    void wait(std::chrono::milliseconds patience);

    DiskTier* prefixes() const { return open_; }  // null: not yet, or never. May be called by any thread
    server::TurnStore* turns() { return turns_ ? &*turns_ : nullptr; }

  private:
    void open_prefixes(DiskTierOptions options);

    Engine& engine_;
    const Log log_;
    std::optional<server::TurnStore> turns_;
    std::optional<DiskTier> tier_;
    std::atomic<DiskTier*> open_ = nullptr;
    std::atomic<bool> quit_ = false;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false, late_ = false;
    std::thread opener_;  // last: it uses the rest
};

}  // namespace cachalot::cli
