#include "service/service_disk.h"

#include "base/background.h"
#include "engine/state_fingerprint.h"
#include "file/user_folders.h"
#include "model/content_fingerprint.h"
#include "prefix/private_folder.h"

namespace cachalot::server {

namespace {

constexpr const char* kNoPrefixes = "prefixes are not kept on disk";

}  // namespace

ServiceDisk::ServiceDisk(const ServiceDiskOptions& o, Engine& engine)
    : engine_(engine), log_(engine.options().log) {
    if (o.folder.empty() || o.folder == "off") return;
    DiskTierOptions tier;
    tier.folder = o.folder;
    tier.budget = o.budget;
    tier.model_name = o.model_name;
    tier.log = log_;
    try {
        make_private_folder(tier.folder);
    } catch (const Error& e) {
        log_.warn(kNoPrefixes, {{"error", e.what()}});
        return;
    }
    try {
        turns_.emplace(tier.folder, tokenizer_fingerprint(engine.model().tokenizer), TurnStore::kLimits,
                       log_);
    } catch (const Error& e) {
        log_.warn("calls of tools are not kept on disk", {{"error", e.what()}});
    }
    try {
        opener_ = start_thread("opening prefixes on disk", [this, tier] { open_prefixes(tier); });
    } catch (const std::exception& e) {
        log_.warn(kNoPrefixes, {{"error", e.what()}});
    }
}

ServiceDisk::~ServiceDisk() {
    quit_ = true;
    if (opener_.joinable()) opener_.join();
}

void ServiceDisk::open_prefixes(DiskTierOptions options) {
    try {
        const auto model = content_fingerprint(
            engine_.model(), {KeptHashes(default_hash_folder(), log_), [&](auto, auto) { return !quit_; }});
        if (!model) return;
        options.model = state_fingerprint(engine_, *model);
        tier_.emplace(options, engine_.kv_pool());
        open_ = &*tier_;
    } catch (const std::exception& e) {
        log_.warn(kNoPrefixes, {{"error", e.what()}});
    }
    std::lock_guard lock(mutex_);
    done_ = true;
    if (late_ && open_) log_.info("the model's files are hashed; saved prefixes are used now");
    changed_.notify_all();
}

void ServiceDisk::wait(std::chrono::milliseconds patience) {
    if (!opener_.joinable()) return;
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, patience, [&] { return done_; })) return;
    late_ = true;
    std::uint64_t bytes = 0;
    for (const auto& file : engine_.model().checkpoint->files()) bytes += file.size();
    log_.info("hashing the model's files once; saved prefixes are used when that is done",
              {{"bytes", bytes}});
}

}  // namespace cachalot::server
