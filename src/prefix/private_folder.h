// Folders that hold what was said.
#pragma once

#include <filesystem>

namespace cachalot {

// Makes the folder (and those above it) if it is not there. Throws Error if it cannot be made, belongs to
// another user or is open to others.
void make_private_folder(const std::filesystem::path& folder);

// Creates a file that only its owner can read and write, if there is none of the name. Does not tell whether
// that worked: who opens it next finds out.
void make_private_file(const std::filesystem::path& path);

}  // namespace cachalot
