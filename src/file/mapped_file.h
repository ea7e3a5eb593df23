// A file mapped read-only into memory.
//
// A model is larger than RAM, so it is never read as a whole: the mapping costs a few microseconds to set up,
// pages arrive from disk when they are touched, and the kernel drops them again under memory pressure.
//
// The price of a mapping is that the file stays shared with the rest of the machine. If somebody truncates it
// while we run (an interrupted download that restarts, a copy over it), touching a page behind the new end
// raises SIGBUS, which kills the process. There is no cure inside a library: a signal handler is global state
// that belongs to the program, and the kernel offers no lock that keeps a file from shrinking. What is done
// about it:
//
//   - Every address comes from a size that was checked when the file was opened and copied out of the
//     mapping, so a file that is changed under us yields wrong numbers but never an address outside.
//   - `check_not_truncated` compares the size of the file now with the size that was mapped, one system
//     call. The readers do it whenever a tensor is looked up. Who uses a file for long has a ChangeWatch
//     (change_watch.h) look at it before and after each unit of work, which also notices other contents. It
//     turns the usual accident into an Error, with a window left between check and touch.
//   - Replacing a model by rename, as GgufWriter and download tools do, is always safe: the mapping keeps
//     the old file alive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "file/regular_file.h"

namespace cachalot {

class MappedFile {
  public:
    // Maps the whole file; reads nothing. Throws Error naming the path if it is missing, not readable or not
    // a regular file. An empty file gives an empty span.
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;

    const std::string& path() const { return file_.path(); }
    std::size_t size() const { return bytes_.size(); }
    std::span<const std::byte> bytes() const { return bytes_; }
    int descriptor() const { return file_.descriptor(); }     // open for reading
    const FileStamp& stamp() const { return file_.stamp(); }  // when it was opened

    // Throws Error if the file is now shorter than what was mapped.
    void check_not_truncated() const;

    // Tells the kernel how a part of the file will be used. A hint: it has no other effect and never fails.
    enum class Access {
        random,      // no read-ahead
        sequential,  // aggressive read-ahead
        will_need,   // start reading now, in the background
        not_needed,  // no longer counts as memory of this process; reading it again is allowed
    };
    void advise(Access access, std::span<const std::byte> part) const;
    void advise(Access access) const { advise(access, bytes_); }

  private:
    void unmap() noexcept;

    RegularFile file_;
    std::span<const std::byte> bytes_;
};

}  // namespace cachalot
