#include "file/output_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

#include "base/checked.h"
#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::size_t kBufferSize = 1 << 20;
constexpr const char* kJournal = ".journal";

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

OutputFile::OutputFile(const std::filesystem::path& path, Resumable)
    : path_(path.string()), temporary_(path_ + ".partial"), resumable_(true) {
    descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail("{}: cannot create: {}", temporary_, reason());
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
        ::close(std::exchange(descriptor_, -1));
        fail("{}: another process is writing it", temporary_);
    }
    buffer_.reserve(kBufferSize);
}

OutputFile::~OutputFile() { discard(); }

// The journal is one line: fingerprint, a space, the number of bytes.
std::uint64_t OutputFile::resume(std::string_view fingerprint) {
    CACHALOT_CHECK(resumable_ && size_ == 0);
    fingerprint_ = fingerprint;
    std::error_code ignored;
    std::ifstream journal(temporary_ + kJournal);
    std::string was;
    std::uint64_t promised = 0;
    if (journal >> was >> promised && was == fingerprint_ &&
        promised <= std::filesystem::file_size(temporary_, ignored))
        size_ = durable_ = promised;
    else
        std::filesystem::remove(temporary_ + kJournal, ignored);
    // What was written after the last promise may have holes.
    if (::ftruncate(descriptor_, static_cast<off_t>(size_)) != 0 ||
        ::lseek(descriptor_, static_cast<off_t>(size_), SEEK_SET) < 0)
        fail("{}: cannot continue: {}", temporary_, reason());
    return size_;
}

void OutputFile::checkpoint() {
    CACHALOT_CHECK(resumable_);
    flush();
    if (::fdatasync(descriptor_) != 0) fail("{}: cannot write to the disk: {}", path_, reason());
    OutputFile journal(temporary_ + kJournal);
    const std::string line = fmt::format("{} {}\n", fingerprint_, size_);
    journal.write(std::as_bytes(std::span(line)));
    journal.commit();
    durable_ = size_;
}

void OutputFile::discard() noexcept {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    descriptor_ = -1;
    if (durable_ == 0) ::unlink(temporary_.c_str());
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
        if (written > 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(written));
            size_ += static_cast<std::uint64_t>(written);
        }
        if (written == 0 || (written < 0 && errno != EINTR)) fail("{}: cannot write: {}", path_, reason());
    }
}

void OutputFile::commit() {
    flush();
    if (::fsync(descriptor_) != 0) fail("{}: cannot write to the disk: {}", path_, reason());
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
        fail("{}: cannot rename {} to it: {}", path_, temporary_, reason());
    ::close(descriptor_);
    descriptor_ = -1;
    if (resumable_) ::unlink((temporary_ + kJournal).c_str());

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
