// Where things are kept for the next start unless the user says otherwise: in $XDG_CACHE_HOME, else in ~/.cache. Empty
// if there is no home.
#pragma once

#include <filesystem>

namespace cachalot::cli {

std::filesystem::path default_kv_folder();  // "cachalot/kv": prefixes
std::filesystem::path
default_heat_folder();  // "cachalot/heat": which experts are used, a file for each model
std::filesystem::path default_hash_folder();  // "cachalot/hashes": of models' files (content_hash.h)

}  // namespace cachalot::cli
