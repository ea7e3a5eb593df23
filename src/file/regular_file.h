// A regular file that is open for reading.
//
// Devices and named pipes can stand under any name. Of a device reading may never end, and opening a pipe
// waits for whoever writes into it, so a file that is to be one is asked before anything is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/unique_fd.h"

struct stat;

namespace cachalot {

// What the system says of a file: while it says the same, the file's contents are the same. Times in
// nanoseconds since 1970.
struct FileStamp {
    FileStamp() = default;
    explicit FileStamp(const struct stat& status);

    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t modified = 0;  // contents
    std::int64_t changed = 0;   // contents, name, rights or links
    std::uint64_t links = 0, mode = 0, owner = 0, group = 0;

    bool operator==(const FileStamp&) const = default;
};

class RegularFile {
  public:
    // Never waits. Throws Error naming the path if it is missing, not readable or not a regular file.
    explicit RegularFile(const std::filesystem::path& path);

    const std::string& path() const { return path_; }
    int descriptor() const { return descriptor_.get(); }
    const FileStamp& stamp() const { return stamp_; }  // when it was opened
    std::uint64_t size() const { return stamp_.size; }

    // Fills `out` with the bytes from `offset` on. Throws Error naming the path if they cannot be read, or if
    // the file ends before.
    void read(std::uint64_t offset, std::span<std::byte> out) const;

  private:
    std::string path_;
    UniqueFd descriptor_;
    FileStamp stamp_;
};

}  // namespace cachalot
