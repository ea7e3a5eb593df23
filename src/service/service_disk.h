// What a service keeps on disk: prefixes, and turns that called tools.
//
// Prefixes belong to one model, and which one that is takes reading all of it once (content_fingerprint.h):
// minutes, if it is large and on a slow disk. So that is done by a thread beside the service, which answers
// meanwhile; the prefixes are opened when it is done. Where the hash of the files is kept from before, that
// is at once.
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

namespace cachalot::server {

struct ServiceDiskOptions {
    std::string folder;  // empty or "off": nothing is kept
    std::int64_t budget = std::int64_t(32) << 30;
    std::string model_name;
};

class ServiceDisk {
  public:
    // Logs, where the engine does, what cannot be kept, and why: the service does without. The engine must
    // outlive this, which must outlive whoever uses what it gives.
    ServiceDisk(const ServiceDiskOptions& options, Engine& engine);
    ~ServiceDisk();

    // Returns when prefixes are open or will not be, or when the time is over; then it logs that it takes
    // longer.
    void wait(std::chrono::milliseconds patience);

    DiskTier* prefixes() const { return open_; }  // null: not yet, or never. May be called by any thread
    TurnStore* turns() { return turns_ ? &*turns_ : nullptr; }

  private:
    void open_prefixes(DiskTierOptions options);

    Engine& engine_;
    const Log log_;
    std::optional<TurnStore> turns_;
    std::optional<DiskTier> tier_;
    std::atomic<DiskTier*> open_ = nullptr;
    std::atomic<bool> quit_ = false;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false, late_ = false;
    std::thread opener_;  // last: it uses the rest
};

}  // namespace cachalot::server
