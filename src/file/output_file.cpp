#include "file/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/checked.h"
#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::size_t kBufferSize = 1 << 20;

std::string reason() { return std::generic_category().message(errno); }

}  // namespace

OutputFile::OutputFile(const std::filesystem::path& path) : path_(path.string()) {
    // Exclusive creation, so that two writers of the same path cannot share a temporary file.
    for (int attempt = 0; descriptor_ < 0; ++attempt) {
        temporary_ = fmt::format("{}.{}-{}.partial", path_, ::getpid(), attempt);
        descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor_ < 0 && errno != EEXIST) fail("{}: cannot create: {}", path_, reason());
    }
    buffer_.reserve(kBufferSize);
}

OutputFile::~OutputFile() { discard(); }

void OutputFile::discard() noexcept {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    descriptor_ = -1;
    ::unlink(temporary_.c_str());
}

void OutputFile::reserve(std::uint64_t size) {
    const auto length = checked_cast<off_t>(size, path_);
    if (length == 0) return;
#ifdef __linux__
    // fallocate, not posix_fallocate: where it is not supported, the latter writes the whole file twice.
    if (::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, 0, length) != 0 && errno != EOPNOTSUPP &&
        errno != ENOSYS)
        fail("{}: cannot reserve {} bytes: {}", path_, size, reason());
#endif
}

void OutputFile::write(std::span<const std::byte> bytes) {
    if (buffer_.size() + bytes.size() > kBufferSize) flush();
    if (bytes.size() > kBufferSize)
        write_through(bytes);
    else
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void OutputFile::flush() {
    write_through(buffer_);
    buffer_.clear();
}

void OutputFile::write_through(std::span<const std::byte> bytes) {
    CACHALOT_CHECK(descriptor_ >= 0);
    while (!bytes.empty()) {
        const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
        if (written > 0)
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        else if (written == 0 || errno != EINTR)
            fail("{}: cannot write: {}", path_, reason());
    }
}

void OutputFile::commit() {
    flush();
    if (::fsync(descriptor_) != 0) fail("{}: cannot write to the disk: {}", path_, reason());
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
        fail("{}: cannot rename {} to it: {}", path_, temporary_, reason());
    ::close(descriptor_);
    descriptor_ = -1;

    // The new name is durable once the directory is. Some file systems refuse this; there is nothing to do
    // then.
    auto directory = std::filesystem::path(path_).parent_path();
    if (directory.empty()) directory = ".";
    if (const int folder = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder >= 0) {
        (void)::fsync(folder);
        ::close(folder);
    }
}

}  // namespace cachalot
