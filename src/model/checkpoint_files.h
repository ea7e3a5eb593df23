// The files on disk that a model consists of, found by their names alone.
#pragma once

#include <filesystem>
#include <vector>

namespace cachalot {

// Of a GGUF file: the file, and the other parts of a split one. Of a release: its weights and the texts that
// belong to it, not whatever else lies in the folder. Of what does not exist: nothing but its name.
std::vector<std::filesystem::path> checkpoint_files(const std::filesystem::path& model);

}  // namespace cachalot
