// cachalot cache: the prefixes that `serve` keeps on disk, and the turns that called tools.
//
// Looking works beside a running server; emptying does not: it would pull the files from under it.
#include <algorithm>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "file/user_folders.h"
#include "prefix/disk_tier.h"
#include "service/turn_store.h"
#include "text/visible_text.h"

namespace cachalot::cli {
namespace {

using nlohmann::ordered_json;

struct CacheOptions {
    std::string folder = default_kv_folder().string();
    bool json = false;
};

// The default one need not have been made yet.
std::filesystem::path folder_of(const CacheOptions& o) {
    if (o.folder.empty()) fail("--kv-dir: there is no home folder to have a default in");
    std::error_code error;
    const auto status = std::filesystem::status(o.folder, error);
    if (std::filesystem::exists(status) && !std::filesystem::is_directory(status))
        fail("{}: is no folder; give the one that serve has as --kv-dir", o.folder);
    if (!std::filesystem::exists(status) && o.folder != default_kv_folder().string())
        fail("{}: does not exist; give the folder that serve has as --kv-dir", o.folder);
    return o.folder;
}

// Nothing if nothing was ever kept there.
std::optional<DiskIndex> look(const std::filesystem::path& folder) {
    if (!std::filesystem::exists(folder / "index.db")) return std::nullopt;
    return std::optional<DiskIndex>(std::in_place, folder, Sqlite::Open::read);
}

// Does not make the folder. A server that starts at this moment is told that the folder is in use.
bool in_use(const std::filesystem::path& folder) {
    if (!std::filesystem::exists(folder / "lock")) return false;
    try {
        DiskTierLock lock(folder);
        return false;
    } catch (const Error&) {
        return true;
    }
}

std::string time_text(std::int64_t seconds) {
    const auto time = static_cast<std::time_t>(seconds);
    std::tm parts{};
    char text[32] = "-";
    if (localtime_r(&time, &parts)) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
    return text;
}

// Namespaces have names that nobody need see; the same one always has the same letters here.
std::string space_text(const ChainKey& root) {
    return fmt::format("{:02x}{:02x}{:02x}{:02x}", static_cast<int>(root[0]), static_cast<int>(root[1]),
                       static_cast<int>(root[2]), static_cast<int>(root[3]));
}

std::uint64_t size_of(std::int64_t bytes) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 0));
}

void list(const CacheOptions& o) {
    auto index = look(folder_of(o));
    const auto snapshots = index ? index->snapshots() : std::vector<StoredSnapshot>();
    if (o.json) {
        auto all = ordered_json::array();
        for (const auto& s : snapshots)
            all.push_back({{"tokens", s.length},
                           {"own_bytes", s.place.size},
                           {"uses", s.uses},
                           {"last_use", s.last_use},
                           {"space", space_text(s.root)},
                           {"model", s.model}});
        print_line(all.dump(2, ' ', false, ordered_json::error_handler_t::replace));
        return;
    }
    if (snapshots.empty()) return;
    print_line(fmt::format("{:>9}  {:>10}  {:>5}  {:<16}  {:<8}  {}", "tokens", "own size", "uses",
                           "last use", "space", "model"));
    for (const auto& s : snapshots)
        print_line(fmt::format("{:>9}  {:>10}  {:>5.0f}  {:<16}  {:<8}  {}", s.length,
                               human_bytes(size_of(s.place.size)), s.uses, time_text(s.last_use),
                               space_text(s.root), visible_line(s.model)));
}

void summarise(const CacheOptions& o) {
    const auto folder = folder_of(o);
    auto index = look(folder);
    std::map<std::string, std::int64_t> models;
    std::int64_t snapshots = 0;
    if (index)
        for (const auto& s : index->snapshots()) {
            ++models[s.model];
            ++snapshots;
        }
    const auto blocks = index ? static_cast<std::int64_t>(index->blocks().size()) : 0;
    const auto bytes = index ? index->record_bytes() : 0;
    const auto turns = server::TurnStore::stats(folder);
    const bool used = in_use(folder);
    if (o.json) {
        print_line(ordered_json{
            {"folder", folder.string()},
            {"prefixes", snapshots},
            {"blocks", blocks},
            {"bytes", bytes},
            {"models", models},
            {"tool_turns", turns.turns},
            {"tool_turn_bytes", turns.bytes},
            {"in_use",
             used}}.dump(2, ' ', false, ordered_json::error_handler_t::replace));
        return;
    }
    print_line(fmt::format("folder    {}{}", folder.string(), used ? " (in use)" : ""));
    print_line(fmt::format("prefixes  {}", snapshots));
    print_line(fmt::format("blocks    {} of {} tokens", blocks, TokenChain::kBlock));
    print_line(fmt::format("size      {}", human_bytes(size_of(bytes))));
    print_line(
        fmt::format("turns     {} with calls of tools, {}", turns.turns, human_bytes(size_of(turns.bytes))));
    for (const auto& [model, count] : models)
        print_line(fmt::format("model     {}: {} prefixes", visible_line(model), count));
}

void remove(const CacheOptions& o) {
    const auto folder = folder_of(o);
    if (!std::filesystem::exists(folder / "lock") && !server::TurnStore::exists(folder)) return;
    DiskTierLock lock(folder);
    server::TurnStore::remove(folder);
    DiskIndex::remove(folder);  // first: what it tells of must not go before it
    PageFiles::remove_all(folder);
}

}  // namespace

void add_cache(CLI::App& app) {
    auto o = std::make_shared<CacheOptions>();
    auto* command = app.add_subcommand("cache", "Shows or removes the prefixes that serve keeps on disk");
    command->require_subcommand(1);
    auto add = [&](const char* name, const char* help, void (*run)(const CacheOptions&)) {
        auto* sub = command->add_subcommand(name, help);
        sub->add_option("--kv-dir", o->folder, "the folder, as given to serve")
            ->capture_default_str()
            ->type_name("DIR");
        sub->callback([o, run] { run(*o); });
        return sub;
    };
    add("ls",
        "Lists the prefixes, last used first; the size is what each has beside the blocks that they share",
        list)
        ->add_flag("--json", o->json, "as JSON");
    add("stat", "Counts them", summarise)->add_flag("--json", o->json, "as JSON");
    add("rm",
        "Removes all of them, and what was remembered of calls of tools. Not while a server uses the folder",
        remove);
}

}  // namespace cachalot::cli
