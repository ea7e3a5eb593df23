// A file that appears under its name all at once or not at all.
//
// It is written beside its name, readable by its owner only, and renamed at the end. A symbolic link is
// followed: what it points to is replaced, not the link. A device, a FIFO or an open descriptor (/dev/stdout)
// is written to as it is, while the bytes come. Finished work is never removed: if it cannot be renamed, the
// Error says where it lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "file/output_target.h"

namespace cachalot {

class OutputFile {
  public:
    // Creates a temporary file beside `path`; of a FIFO, waits for a reader. Throws Error naming the path, as
    // do all members.
    explicit OutputFile(const std::filesystem::path& path);
    // Removes the temporary file unless it was finished.
    ~OutputFile();

    // A file that survives being killed: its temporary file is PATH.partial, and PATH.partial.journal says
    // what it will be and how much of it is on the disk for good. `resume` must follow.
    struct Resumable {};
    OutputFile(const std::filesystem::path& path, Resumable);

    // Takes up the temporary file where `checkpoint` left it, if what was written then had the same
    // fingerprint, and returns its size; 0 if there is none. Throws Error if it is the work of somebody else,
    // unless `replace` says that it may be lost.
    std::uint64_t resume(std::string_view fingerprint, bool replace = false);
    // Makes what has been written so far durable, and says so in the journal.
    void checkpoint();

    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    // Sets aside disk space for a file of `size` bytes; throws if there is not enough. With `holes`, so many
    // of them will be skipped: then nothing is set aside, and there must be room for the others.
    void reserve(std::uint64_t size, std::uint64_t holes = 0);

    void write(std::span<const std::byte> bytes);

    // The next `bytes` are zeros. They are not written, and take no space where the file system has holes.
    void skip(std::uint64_t bytes);

    // Writes everything to the disk and renames the file to its path, replacing what was there. It has the
    // permissions of the file before it, or those of a new file.
    void commit();

    const std::string& path() const { return path_; }

  private:
    void flush();
    void write_through(std::span<const std::byte> bytes);
    void write_journal() const;
    bool is_empty() const;
    void close() noexcept;
    void discard() noexcept;

    std::string path_;     // as it was given, for messages
    OutputTarget target_;  // of path_
    std::string temporary_;
    UniqueFd descriptor_;
    bool resumable_ = false;
    bool begun_ = false;  // of a resumable one: what is in the temporary file is ours
    std::string fingerprint_;
    std::uint64_t size_ = 0, durable_ = 0;  // bytes written, bytes that the journal promises
    std::vector<std::byte> buffer_;         // small writes are collected
};

}  // namespace cachalot
