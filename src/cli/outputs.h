// What commands do about the files that they write: find out before the work whether it will be possible, and leave
// nothing unfinished behind.
#pragma once

#include <string>
#include <vector>

namespace cachalot::cli {

// The files of one command. Empty paths are options that were not given, and "-" is standard input.
struct CommandFiles {
    std::vector<std::string> models{};   // that are read, with all their files
    std::vector<std::string> inputs{};   // other files that are read
    std::vector<std::string> outputs{};  // files that are written, and replaced if they exist

    void add(const CommandFiles& more);

    // Throws Error unless each output can be written, is none of the files that are read, and no other output.
    void check() const;
};

// For a command that replaces a file only if it is told to. Throws Error.
void check_new_file(const std::string& path, bool force);

// The same for a folder, which must be empty or not exist. Its parents are made.
void check_new_folder(const std::string& path);

// Lets SIGINT, SIGTERM and SIGHUP end the program as ever, but remove unfinished files first. Those that are ignored stay
// ignored.
void remove_unfinished_files_on_signals();

}  // namespace cachalot::cli
