#include "file/change_watch.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/error.h"

namespace cachalot {
namespace {

bool leads_to(const std::string& path, const FileStamp& stamp) {
    struct stat status = {};
    return ::stat(path.c_str(), &status) == 0 && FileStamp(status).device == stamp.device &&
           FileStamp(status).inode == stamp.inode;
}

}  // namespace

ChangeWatch::ChangeWatch(std::span<const MappedFile> files, Log log) : files_(files), log_(std::move(log)) {
    for (const MappedFile& file : files) last_.push_back(file.stamp());
}

std::string ChangeWatch::problem() {
    std::lock_guard lock(mutex_);
    for (std::size_t i = 0; problem_.empty() && i < files_.size(); ++i) {
        problem_ = compare(i);
        if (!problem_.empty()) log_.error("no request is answered any more", {{"error", problem_}});
    }
    return problem_;
}

void ChangeWatch::check() {
    if (const auto text = problem(); !text.empty()) fail("{}", text);
}

std::string ChangeWatch::compare(std::size_t i) {
    const MappedFile& file = files_[i];
    FileStamp& last = last_[i];
    struct stat status = {};
    if (::fstat(file.descriptor(), &status) != 0)
        return fmt::format("{}: cannot be looked at any more", file.path());
    const FileStamp now(status);
    if (now == last) return {};
    if (now.size < last.size)
        return fmt::format(
            "{}: was truncated from {} to {} bytes while in use; start again with a whole file", file.path(),
            last.size, now.size);
    const bool same_status = now.links == last.links && now.mode == last.mode && now.owner == last.owner &&
                             now.group == last.group;
    if (now.size != last.size || now.modified != last.modified || (same_status && leads_to(file.path(), now)))
        return fmt::format(
            "{}: was changed while in use, and answers would mix what it was with what it is; start again to "
            "use it as it is now (to replace a model that is in use, rename the new file over it)",
            file.path());
    last = now;
    return {};
}

}  // namespace cachalot
