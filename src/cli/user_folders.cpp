#include "cli/user_folders.h"

#include <cstdlib>

namespace cachalot::cli {
namespace {

std::filesystem::path in_cache(const char* name) {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    if (cache && *cache == '/') return std::filesystem::path(cache) / "cachalot" / name;
    const char* home = std::getenv("HOME");
    if (home && *home == '/') return std::filesystem::path(home) / ".cache" / "cachalot" / name;
    return {};
}

}  // namespace

std::filesystem::path default_kv_folder() { return in_cache("kv"); }
std::filesystem::path default_heat_folder() { return in_cache("heat"); }
std::filesystem::path default_hash_folder() { return in_cache("hashes"); }

}  // namespace cachalot::cli
