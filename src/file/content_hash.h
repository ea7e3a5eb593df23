// The hash of all bytes of a file, and where it is kept so that it need not be computed twice.
//
// To hash a model of 150 GB is to read it, which takes minutes. So a hash is kept, in a small file of its
// own, together with what the system said of the model's file then (FileStamp). It counts only while that is
// still the same: whoever writes to a file cannot help changing the time of its last status change, even if
// the time of modification is set back.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "base/hash.h"
#include "base/log.h"
#include "file/mapped_file.h"

namespace cachalot {

// Reads the file from its beginning to its end, a few megabytes at a time; go_on(bytes read so far) is asked
// after each, and if it says no the result is nothing. Throws Error if the file cannot be read.
std::optional<Hash128> content_hash(const MappedFile& file,
                                    const std::function<bool(std::uint64_t)>& go_on = {});

class KeptHashes {
  public:
    // The folder is made when something is kept. An empty path: nothing is ever found or kept.
    explicit KeptHashes(std::filesystem::path folder, Log log = {})
        : folder_(std::move(folder)), log_(std::move(log)) {}

    // What is kept of the file that had this stamp. A file of hashes that is damaged is one that is not
    // there.
    std::optional<Hash128> find(const FileStamp& stamp) const;

    // Keeps a hash; `begun`: when the file's first byte was read for it, in nanoseconds since 1970. Clocks of
    // file systems tick slowly, and what was written within the same tick as the stamp would not be noticed:
    // so the hash of a file that had been changed shortly before is not kept. What cannot be written is not
    // kept either, which is logged.
    void keep(const FileStamp& stamp, const Hash128& hash, std::int64_t begun) const;

  private:
    std::filesystem::path path_of(const FileStamp& stamp) const;
    std::filesystem::path folder_;
    Log log_;
};

}  // namespace cachalot
