// A file that appears under its name all at once or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace cachalot {

class OutputFile {
  public:
    // Creates a temporary file beside `path`. Throws Error naming the path, as do all members.
    explicit OutputFile(const std::filesystem::path& path);
    // Removes the temporary file unless `commit` was called.
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    // Sets aside disk space for a file of `size` bytes where the file system can; throws if there is not
    // enough.
    void reserve(std::uint64_t size);

    void write(std::span<const std::byte> bytes);

    // Writes everything to the disk and renames the file to its path, replacing what was there.
    void commit();

    const std::string& path() const { return path_; }

  private:
    void flush();
    void write_through(std::span<const std::byte> bytes);
    void discard() noexcept;

    std::string path_;
    std::string temporary_;
    int descriptor_ = -1;
    std::vector<std::byte> buffer_;  // small writes are collected
};

}  // namespace cachalot
