// Where prefixes are kept on disk unless the user says otherwise.
#pragma once

#include <filesystem>

namespace cachalot::cli {

// "cachalot/kv" in $XDG_CACHE_HOME, else in ~/.cache; empty if there is no home.
std::filesystem::path default_kv_folder();

}  // namespace cachalot::cli
