// A file that appears under its name all at once or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

class OutputFile {
  public:
    // Creates a temporary file beside `path`. Throws Error naming the path, as do all members.
    explicit OutputFile(const std::filesystem::path& path);
    // Removes the temporary file unless `commit` was called.
    ~OutputFile();

    // A file that survives being killed: its temporary file is PATH.partial, and PATH.partial.journal says how much of it
    // is on the disk for good. `resume` must follow.
    struct Resumable {};
    OutputFile(const std::filesystem::path& path, Resumable);

    // Takes up the temporary file where `checkpoint` left it, if what was written then had the same fingerprint, and
    // returns its size; else begins anew and returns 0.
    std::uint64_t resume(std::string_view fingerprint);
    // Makes what has been written so far durable, and says so in the journal.
    void checkpoint();

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
    bool resumable_ = false;
    std::string fingerprint_;
    std::uint64_t size_ = 0, durable_ = 0;  // bytes written, bytes that the journal promises
    std::vector<std::byte> buffer_;         // small writes are collected
};

}  // namespace cachalot
