// Notices that mapped files are changed under us.
//
// The mapping of a file shows at once what others write into it: a model that is copied over while it is
// served would answer with the weights of two files. What a file was when it was mapped is known (FileStamp);
// before and after each use it is compared with what the system says now, one call for each file.
//
// A change is a new size or time of modification. Who writes and sets that time back leaves a trace in the
// time of the last status change; that alone is no sign of new contents, since a file also gets it by being
// renamed, linked, unlinked or given other rights. So it counts unless one of these is seen to have happened,
// too. A file that was replaced by a rename, or removed, is unchanged: the mapping keeps the old one alive.
#pragma once

#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "file/mapped_file.h"

namespace cachalot {

// May be used by several threads at once.
class ChangeWatch {
  public:
    // The files must outlive the watch, and stay where they are. The log is told when there is a problem.
    explicit ChangeWatch(std::span<const MappedFile> files, Log log = {});

    // Empty while all files are what they were when they were mapped; else what happened to one of them, and
    // from then on always the same.
    std::string problem();

    // Throws Error with the problem, if there is one.
    void check();

  private:
    std::string compare(std::size_t file);

    const std::span<const MappedFile> files_;
    const Log log_;
    std::mutex mutex_;
    std::vector<FileStamp> last_;  // [files]
    std::string problem_;
};

}  // namespace cachalot
