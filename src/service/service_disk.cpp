#include "service/service_disk.h"

#include "base/human_bytes.h"
#include "engine/state_fingerprint.h"
#include "file/user_folders.h"
#include "model/content_fingerprint.h"
#include "prefix/private_folder.h"

namespace cachalot::server {

namespace {

void log_not_kept(const Log& log, const char* what, const std::exception& why) {
    log.warn(fmt::format("{} are not kept on disk", what), {{"error", why.what()}});
}

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
        log_not_kept(log_, "prefixes", e);
        return;
    }
    try {
        turns_.emplace(tier.folder, tokenizer_fingerprint(engine.model().tokenizer), TurnStore::kLimits,
                       log_);
    } catch (const Error& e) {
        log_not_kept(log_, "calls of tools", e);
    }
    try {
        opener_ = std::thread([this, tier] { open_prefixes(tier); });
    } catch (const std::exception& e) {
        log_not_kept(log_, "prefixes", e);
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
        log_not_kept(log_, "prefixes", e);
    }
    std::lock_guard lock(mutex_);
    done_ = true;
    if (late_ && open_) log_.info("the model is known; prefixes on disk are used now");
    changed_.notify_all();
}

void ServiceDisk::wait(std::chrono::milliseconds patience) {
    if (!opener_.joinable()) return;
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, patience, [&] { return done_; })) return;
    late_ = true;
    std::uint64_t bytes = 0;
    for (const auto& file : engine_.model().checkpoint->files()) bytes += file.size();
    log_.info(fmt::format(
        "the model is read once, to be known again ({}); until then prefixes on disk are not used",
        human_bytes(bytes)));
}

}  // namespace cachalot::server
