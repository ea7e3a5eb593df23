#include "file/user_folders.h"

#include <cstdlib>

namespace cachalot {
namespace {

// cachalot/`name` in the folder that `variable` names, else in `usual` at home.
std::filesystem::path in_folder(const char* variable, const char* usual, const char* name) {
    const char* folder = std::getenv(variable);
    if (folder && *folder == '/') return std::filesystem::path(folder) / "cachalot" / name;
    const char* home = std::getenv("HOME");
    if (home && *home == '/') return std::filesystem::path(home) / usual / "cachalot" / name;
    return {};
}

}  // namespace

std::filesystem::path default_kv_folder() { return in_folder("XDG_CACHE_HOME", ".cache", "kv"); }
std::filesystem::path default_heat_folder() { return in_folder("XDG_CACHE_HOME", ".cache", "heat"); }
std::filesystem::path default_hash_folder() { return in_folder("XDG_CACHE_HOME", ".cache", "hashes"); }
std::filesystem::path default_history_file() {
    return in_folder("XDG_STATE_HOME", ".local/state", "history");
}

}  // namespace cachalot
