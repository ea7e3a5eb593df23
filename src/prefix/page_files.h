// The bytes of the disk tier: records in a few large files that only grow at their ends.
//
//     record   | magic 8 | name 16 | size 8 | hash of the payload 16 | payload ... |
//
// Where a record lies is known to the index alone (disk_index.h); what lies there is believed only if name,
// size and hash say that it is what was asked for. So a torn write, a flipped bit or an index that points
// elsewhere is a record that is not there, and nothing worse. Records are durable before the index tells of
// them; what lies beyond the last record that it tells of is cut off when the files are opened.
//
// Room is given back at once where the file system can punch holes, and else when all records of a file are
// gone.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "prefix/token_chain.h"

namespace cachalot {

// What is asked of the operating system, so that tests can let it fail. They return what the calls of these
// names do.
struct FileCalls {
    virtual ~FileCalls() = default;
    virtual ssize_t pread(int file, void* data, std::size_t size, off_t offset);
    virtual ssize_t pwrite(int file, const void* data, std::size_t size, off_t offset);
    virtual int fdatasync(int file);
    virtual int ftruncate(int file, off_t size);
    virtual int punch(int file, off_t offset, off_t size);  // makes a hole
};

struct Place {
    std::int64_t file = 0, offset = 0, size = 0;  // of the whole record
    bool operator==(const Place&) const = default;
};

struct WriteError : Error {
    WriteError(int number, const std::string& message) : Error(message), code(number) {}
    int code;  // errno
};

class PageFiles {
  public:
    static constexpr std::int64_t kHeader = 48;

    // A file that has reached `file_limit` bytes is followed by another.
    PageFiles(std::filesystem::path folder, FileCalls& calls, std::int64_t file_limit);

    // Where the records end that are to be kept, by file; the rest goes. Throws Error. Called once, before
    // anything is written.
    void keep_only(const std::map<std::int64_t, std::int64_t>& ends);

    // Removes all page files of a folder. Throws Error.
    static void remove_all(const std::filesystem::path& folder) { remove_but(folder, {}); }

    std::filesystem::path path(std::int64_t file) const;

    // Appends a record, which is durable after the next sync(). Both throw WriteError.
    Place append(const ChainKey& name, std::span<const std::byte> payload);
    void sync();

    // Forgets what was appended since the last sync().
    void discard();

    // Gives back what lies between two places of a file, neither of which is touched.
    void free(std::int64_t file, std::int64_t begin, std::int64_t end);
    void remove(std::int64_t file);  // the one that is appended to is only emptied

    // Fills `payload`, and returns nothing; or, if there is no such record there, what is there instead. On
    // any thread.
    std::string read(const Place& place, const ChainKey& name, std::span<std::byte> payload) const;

  private:
    static void remove_but(const std::filesystem::path& folder,
                           const std::map<std::int64_t, std::int64_t>& kept);
    void start_file(std::int64_t file, std::int64_t end);
    void write(std::span<const std::byte> bytes);
    [[noreturn]] void fail_writing(const char* what) const;

    const std::filesystem::path folder_;
    FileCalls& calls_;
    const std::int64_t file_limit_;
    std::int64_t current_ = 0;  // the file that is appended to
    UniqueFd descriptor_;       // of it
    std::int64_t end_ = 0, synced_ = 0;
};

}  // namespace cachalot
