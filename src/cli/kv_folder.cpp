#include "cli/kv_folder.h"

#include <cstdlib>

namespace cachalot::cli {

std::filesystem::path default_kv_folder() {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    if (cache && *cache == '/') return std::filesystem::path(cache) / "cachalot" / "kv";
    const char* home = std::getenv("HOME");
    if (home && *home == '/') return std::filesystem::path(home) / ".cache" / "cachalot" / "kv";
    return {};
}

}  // namespace cachalot::cli
