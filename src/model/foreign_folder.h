// What a folder is that was expected to be a release and is none, for messages: people have adapters, weights
// of PyTorch, folders of GGUF files, downloads that did not finish.
#pragma once

#include <filesystem>

namespace cachalot {

// Throws Error with a remedy unless the folder has a config.json, and weights with the index that they need.
// Reads names only.
void check_release_folder(const std::filesystem::path& folder);

}  // namespace cachalot
