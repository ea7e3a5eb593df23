#include "file/output_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>

#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "file/temporary_names.h"

namespace cachalot {
namespace {

constexpr std::size_t kBufferSize = 1 << 20;
constexpr mode_t kPrivate = 0600;
constexpr const char* kJournal = ".journal";

std::string reason() { return std::generic_category().message(errno); }

UniqueFd open_stream(const OutputTarget& target) {
    return UniqueFd(target.descriptor >= 0 ? ::fcntl(target.descriptor, F_DUPFD_CLOEXEC, 0)
                                           : ::open(target.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
}

}  // namespace

OutputFile::OutputFile(const std::filesystem::path& path)
    : path_(path.string()), target_(OutputTarget::of(path)) {
    buffer_.reserve(kBufferSize);
    if (target_.is_stream) {
        descriptor_ = open_stream(target_);
        if (!descriptor_) fail("{}: cannot write: {}", path_, reason());
        return;
    }
    // Exclusive creation, so that two writers of the same path cannot share a temporary file.
    for (int attempt = 0; !descriptor_; ++attempt) {
        temporary_ = fmt::format("{}.{}-{}.partial", target_.path.string(), ::getpid(), attempt);
        descriptor_.reset(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kPrivate));
        if (!descriptor_ && errno != EEXIST) fail("{}: cannot create: {}", path_, reason());
    }
    note_temporary_file(temporary_);
}

OutputFile::OutputFile(const std::filesystem::path& path, Resumable)
    : path_(path.string()), target_(OutputTarget::of(path)), resumable_(true) {
    buffer_.reserve(kBufferSize);
    if (target_.is_stream) {
        descriptor_ = open_stream(target_);
        if (!descriptor_) fail("{}: cannot write: {}", path_, reason());
        return;
    }
    temporary_ = target_.path.string() + ".partial";
    descriptor_.reset(::open(temporary_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kPrivate));
    if (!descriptor_) fail("{}: cannot create: {}", temporary_, reason());
    if (::flock(descriptor_.get(), LOCK_EX | LOCK_NB) != 0) {
        descriptor_.reset();
        fail("{}: another process is writing it", temporary_);
    }
}

OutputFile::~OutputFile() { discard(); }

bool OutputFile::is_empty() const {
    struct stat status = {};
    return ::fstat(descriptor_.get(), &status) == 0 && status.st_size == 0;
}

// The journal is one line: fingerprint, a space, the number of bytes. It is there before the first byte, so
// that a temporary file that nobody has promised anything about can be told from another program's.
std::uint64_t OutputFile::resume(std::string_view fingerprint, bool replace) {
    CACHALOT_CHECK(resumable_ && size_ == 0);
    if (target_.is_stream) return 0;
    fingerprint_ = fingerprint;
    std::error_code error;
    std::ifstream journal(temporary_ + kJournal);
    std::string was;
    std::uint64_t promised = 0;
    const bool known = static_cast<bool>(journal >> was >> promised);
    if (known && was == fingerprint_ && promised <= std::filesystem::file_size(temporary_, error) && !error)
        size_ = promised;
    else if (!replace && !is_empty() && !(known && (promised == 0 || was == fingerprint_)))
        fail(
            "{}: holds unfinished work that this would replace: give the same command as then to finish it, "
            "--force to replace it, or move it away",
            temporary_);
    begun_ = true;
    durable_ = size_;
    // What was written after the last promise may have holes.
    if (::ftruncate(descriptor_.get(), static_cast<off_t>(size_)) != 0 ||
        ::lseek(descriptor_.get(), static_cast<off_t>(size_), SEEK_SET) < 0)
        fail("{}: cannot continue: {}", temporary_, reason());
    write_journal();
    return size_;
}

void OutputFile::write_journal() const {
    OutputFile journal(temporary_ + kJournal);
    const std::string line = fmt::format("{} {}\n", fingerprint_, size_);
    journal.write(std::as_bytes(std::span(line)));
    journal.commit();
}

void OutputFile::checkpoint() {
    CACHALOT_CHECK(resumable_);
    flush();
    if (target_.is_stream) return;
    if (::fdatasync(descriptor_.get()) != 0) fail("{}: cannot write to the disk: {}", path_, reason());
    write_journal();
    durable_ = size_;
}

void OutputFile::close() noexcept {
    descriptor_.reset();
    if (!resumable_ && !temporary_.empty()) forget_temporary_file(temporary_);
}

void OutputFile::discard() noexcept {
    if (!descriptor_) return;
    const bool worthless =
        !target_.is_stream && (resumable_ ? durable_ == 0 && (begun_ || is_empty()) : true);
    if (worthless) ::unlink(temporary_.c_str());
    if (worthless && resumable_ && begun_) ::unlink((temporary_ + kJournal).c_str());
    close();
}

void OutputFile::reserve(std::uint64_t size, std::uint64_t holes) {
    const auto length = checked_cast<off_t>(size, path_);
    if (length == 0 || target_.is_stream) return;
    size -= std::min(size, holes);
#ifdef __linux__
    // fallocate, not posix_fallocate: where it is not supported, the latter writes the whole file twice.
    if (holes == 0 && ::fallocate(descriptor_.get(), FALLOC_FL_KEEP_SIZE, 0, length) == 0) return;
    if (holes == 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        fail("{}: cannot reserve {} bytes: {}", path_, size, reason());
#endif
    check_space(target_.path, size - std::min(size, size_));
}

void OutputFile::write(std::span<const std::byte> bytes) {
    if (buffer_.size() + bytes.size() > kBufferSize) flush();
    if (bytes.size() > kBufferSize)
        write_through(bytes);
    else
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void OutputFile::skip(std::uint64_t bytes) {
    if (target_.is_stream) {
        const std::vector<std::byte> zeros(
            static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kBufferSize)));
        for (; bytes > 0; bytes -= std::min<std::uint64_t>(bytes, zeros.size()))
            write(std::span(zeros).first(
                static_cast<std::size_t>(std::min<std::uint64_t>(bytes, zeros.size()))));
        return;
    }
    flush();
    size_ = checked_add(size_, bytes, path_);
    // The file is made longer at once, as it may end here.
    if (const auto end = checked_cast<off_t>(size_, path_);
        ::ftruncate(descriptor_.get(), end) != 0 || ::lseek(descriptor_.get(), end, SEEK_SET) < 0)
        fail("{}: cannot write: {}", path_, reason());
}

void OutputFile::flush() {
    write_through(buffer_);
    buffer_.clear();
}

void OutputFile::write_through(std::span<const std::byte> bytes) {
    CACHALOT_CHECK(descriptor_);
    while (!bytes.empty()) {
        const ssize_t written = ::write(descriptor_.get(), bytes.data(), bytes.size());
        if (written > 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(written));
            size_ += static_cast<std::uint64_t>(written);
        }
        if (written == 0 || (written < 0 && errno != EINTR)) fail("{}: cannot write: {}", path_, reason());
    }
}

void OutputFile::commit() {
    flush();
    if (target_.is_stream) return close();
    // Some file systems have no permissions; then there is nothing to lose.
    (void)::fchmod(descriptor_.get(), target_.mode ? *target_.mode : new_file_mode());
    if (::fsync(descriptor_.get()) != 0) fail("{}: cannot write to the disk: {}", path_, reason());
    const bool renamed = ::rename(temporary_.c_str(), target_.path.c_str()) == 0;
    const std::string problem = reason();
    close();
    if (!renamed) fail("{}: cannot be replaced: {}; the finished file is {}", path_, problem, temporary_);
    if (resumable_) ::unlink((temporary_ + kJournal).c_str());

    // The new name is durable once the directory is. Some file systems refuse this; there is nothing to do
    // then.
    auto directory = target_.path.parent_path();
    if (directory.empty()) directory = ".";
    const UniqueFd folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder) (void)::fsync(folder.get());
}

}  // namespace cachalot
