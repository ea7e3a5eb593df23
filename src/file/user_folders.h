// Where things are kept for the next start unless the user says otherwise. Empty if there is no home.
#pragma once

#include <filesystem>

namespace cachalot {

// In $XDG_CACHE_HOME, else in ~/.cache:
std::filesystem::path default_kv_folder();  // "cachalot/kv": prefixes
std::filesystem::path
default_heat_folder();  // "cachalot/heat": which experts are used, a file for each model
std::filesystem::path default_hash_folder();  // "cachalot/hashes": of models' files (content_hash.h)

// In $XDG_STATE_HOME, else in ~/.local/state: "cachalot/history": what was typed in chats
std::filesystem::path default_history_file();

}  // namespace cachalot
