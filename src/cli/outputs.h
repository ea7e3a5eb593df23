// What commands do about the files that they write: find out before the work whether it will be possible, and
// leave nothing unfinished behind.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot::cli {

// The files of one command. Empty paths are options that were not given, and "-" is standard input.
struct CommandFiles {
    std::vector<std::string> models{};   // that are read, with all their files
    std::vector<std::string> inputs{};   // other files that are read
    std::vector<std::string> outputs{};  // files that are written, and replaced if they exist

    void add(const CommandFiles& more);

    // Throws Error unless each output can be written, is none of the files that are read, and no other
    // output.
    void check() const;
};

// For a command that replaces a file only if it is told to. Throws Error.
void check_new_file(const std::string& path, bool force);

// The same for a folder, which must be empty or not exist. Its parents are made.
void check_new_folder(const std::string& path);

// What long work has made must not be lost because its place is full or gone by now: if `save(output)` throws
// Error, it is saved under a new name beside the output, or else in the folder for temporary files, and the
// error says where it is. Always throws Error then.
void save_or_keep(const std::string& output, const std::function<void(const std::string& path)>& save);
void save_text_or_keep(const std::string& output, std::string_view text);

// Lets SIGINT, SIGTERM and SIGHUP end the program as ever, but remove unfinished files first; more of them
// meanwhile do nothing. Those that are ignored stay ignored.
void remove_unfinished_files_on_signals();

}  // namespace cachalot::cli
