#include "file/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/checked.h"
#include "base/error.h"

namespace cachalot {
namespace {

std::string reason() { return std::generic_category().message(errno); }

std::int64_t nanoseconds(const timespec& time) {
    return std::int64_t(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

FileStamp::FileStamp(const struct stat& status)
    : device(status.st_dev),
      inode(status.st_ino),
      size(static_cast<std::uint64_t>(status.st_size)),
#ifdef __APPLE__
      modified(nanoseconds(status.st_mtimespec)),
      changed(nanoseconds(status.st_ctimespec)),
#else
      modified(nanoseconds(status.st_mtim)),
      changed(nanoseconds(status.st_ctim)),
#endif
      links(status.st_nlink),
      mode(status.st_mode),
      owner(status.st_uid),
      group(status.st_gid) {
}

RegularFile::RegularFile(const std::filesystem::path& path) : path_(path.string()) {
    // O_NONBLOCK: opening a named pipe must not wait for a writer.
    descriptor_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!descriptor_) fail("{}: cannot be opened: {}", path_, reason());
    struct stat status = {};
    if (::fstat(descriptor_.get(), &status) != 0) fail("{}: cannot read its size: {}", path_, reason());
    if (S_ISDIR(status.st_mode)) fail("{}: is a directory, not a file", path_);
    if (!S_ISREG(status.st_mode)) fail("{}: is not a regular file", path_);
    (void)checked_cast<std::size_t>(status.st_size, path_);
    stamp_ = FileStamp(status);
}

void RegularFile::read(std::uint64_t offset, std::span<std::byte> out) const {
    for (std::size_t done = 0; done < out.size();) {
        const auto at = static_cast<off_t>(offset + done);
        const auto got = ::pread(descriptor(), out.data() + done, out.size() - done, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail("{}: cannot be read: {}", path_, reason());
        if (got == 0) fail("{}: ends before byte {}", path_, offset + out.size());
        done += static_cast<std::size_t>(got);
    }
}

}  // namespace cachalot
