// Folders that hold what was said.
#pragma once

#include <filesystem>

namespace cachalot {

// Makes the folder (and those above it) if it is not there. Throws Error if it cannot be made, belongs to another user or
// is open to others.
void make_private_folder(const std::filesystem::path& folder);

}  // namespace cachalot
