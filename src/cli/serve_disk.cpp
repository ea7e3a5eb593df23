#include "cli/serve_disk.h"

#include "cli/command.h"
#include "cli/user_folders.h"
#include "engine/state_fingerprint.h"
#include "model/content_fingerprint.h"
#include "prefix/private_folder.h"

namespace cachalot::cli {
namespace {

void say_not_kept(const char* what, const std::exception& why) {
    say("cachalot: {} are not kept on disk: {}", what, why.what());
}

}  // namespace

ServeDisk::ServeDisk(const ServeDiskOptions& o, Engine& engine) : engine_(engine) {
    if (o.folder.empty() || o.folder == "off") return;
    DiskTierOptions tier;
    tier.folder = o.folder;
    tier.budget = o.budget;
    tier.model_name = o.model_name;
    try {
        make_private_folder(tier.folder);
    } catch (const Error& e) {
        say_not_kept("prefixes", e);
        return;
    }
    try {
        turns_.emplace(tier.folder, tokenizer_fingerprint(engine.model().tokenizer));
    } catch (const Error& e) {
        say_not_kept("calls of tools", e);
    }
    try {
        opener_ = std::thread([this, tier] { open_prefixes(tier); });
    } catch (const std::exception& e) {
        say_not_kept("prefixes", e);
    }
}

ServeDisk::~ServeDisk() {
    quit_ = true;
    if (opener_.joinable()) opener_.join();
}

void ServeDisk::open_prefixes(DiskTierOptions options) {
    try {
        const auto model = content_fingerprint(
            engine_.model(), {KeptHashes(default_hash_folder()), [&](auto, auto) { return !quit_; }});
        if (!model) return;
        options.model = state_fingerprint(engine_, *model);
        tier_.emplace(options, engine_.kv_pool());
        open_ = &*tier_;
    } catch (const std::exception& e) {
        say_not_kept("prefixes", e);
    }
    std::lock_guard lock(mutex_);
    done_ = true;
    if (late_ && open_) say("cachalot: the model is known; prefixes on disk are used now");
    changed_.notify_all();
}

void ServeDisk::wait(std::chrono::milliseconds patience) {
    if (!opener_.joinable()) return;
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, patience, [&] { return done_; })) return;
    late_ = true;
    std::uint64_t bytes = 0;
    for (const auto& file : engine_.model().checkpoint->files()) bytes += file.size();
    say("cachalot: the model is read once, to be known again ({}); until then prefixes on disk are not used",
        human_bytes(bytes));
}

}  // namespace cachalot::cli
