// What commands do about the files that they write: find out before the work whether it will be possible, and leave
// nothing unfinished behind.
#pragma once

#include <string>
#include <vector>

namespace cachalot::cli {

// Throws Error unless `path` can be written. It must be none of `inputs`, the files that are read. An empty path is an
// option that was not given.
void check_output_file(const std::string& path, const std::vector<std::string>& inputs = {});

// The same for a command that replaces a file only if it is told to.
void check_new_file(const std::string& path, bool force, const std::vector<std::string>& inputs = {});

// The same for a folder, which must be empty or not exist. Its parents are made.
void check_new_folder(const std::string& path);

// Lets SIGINT, SIGTERM and SIGHUP end the program as ever, but remove unfinished files first. Those that are ignored stay
// ignored.
void remove_unfinished_files_on_signals();

}  // namespace cachalot::cli
