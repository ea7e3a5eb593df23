// What lies where an output is to go, found out before the work that makes it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>

namespace cachalot {

struct OutputTarget {
    // With symbolic links followed, also one to a file that does not exist yet.
    std::filesystem::path path;
    // A device, a FIFO or an open descriptor: it is written to as it is. Anything else is a file, which is
    // replaced.
    bool is_stream = false;
    int descriptor = -1;         // that the path stands for, as /dev/stdout does; -1: none
    std::optional<mode_t> mode;  // permissions of the file that is replaced; none if there is none

    // Throws Error naming the path if nothing can be written there: a folder, in a folder that is missing,
    // without permission, on a device that takes nothing. Changes nothing, and opens nothing but devices.
    static OutputTarget of(const std::filesystem::path& path);
};

// To be called before long work.
inline void check_output(const std::filesystem::path& path) { (void)OutputTarget::of(path); }

// Whether a file would be replaced there; streams are not, and what is no place for an output is refused.
inline bool would_replace(const std::filesystem::path& path) {
    return OutputTarget::of(path).mode.has_value();
}

// Throws Error unless the file system of `path` has room for so many bytes more. `path` need not exist, its
// folder must.
void check_space(const std::filesystem::path& path, std::uintmax_t bytes);

// The permissions that a new file has, as the process's umask says.
mode_t new_file_mode();

}  // namespace cachalot
