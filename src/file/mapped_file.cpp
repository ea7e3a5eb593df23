#include "file/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include "base/checked.h"
#include "base/error.h"

namespace cachalot {
namespace {

std::string reason() { return std::generic_category().message(errno); }

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path.string()) {
    // O_NONBLOCK: opening a named pipe must not wait for a writer.
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor_ < 0) fail("{}: cannot open: {}", path_, reason());
    try {
        struct stat status = {};
        if (::fstat(descriptor_, &status) != 0) fail("{}: cannot read its size: {}", path_, reason());
        if (S_ISDIR(status.st_mode)) fail("{}: is a directory, not a file", path_);
        if (!S_ISREG(status.st_mode)) fail("{}: is not a regular file", path_);
        const auto size = checked_cast<std::size_t>(status.st_size, path_);
        if (size == 0) return;  // mmap refuses to map nothing
        void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor_, 0);
        if (address == MAP_FAILED) fail("{}: cannot map {} bytes: {}", path_, size, reason());
        bytes_ = {static_cast<const std::byte*>(address), size};
    } catch (...) {
        close();
        throw;
    }
}

MappedFile::~MappedFile() { close(); }

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    if (this != &other) {
        close();
        path_ = std::move(other.path_);
        descriptor_ = std::exchange(other.descriptor_, -1);
        bytes_ = std::exchange(other.bytes_, {});
    }
    return *this;
}

void MappedFile::close() noexcept {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    bytes_ = {};
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
}

void MappedFile::check_not_truncated() const {
    struct stat status = {};
    if (::fstat(descriptor_, &status) != 0) fail("{}: cannot read its size: {}", path_, reason());
    if (std::cmp_less(status.st_size, bytes_.size()))
        fail("{}: was truncated from {} to {} bytes while in use", path_, bytes_.size(), status.st_size);
}

void MappedFile::advise(Access access, std::span<const std::byte> part) const {
    if (part.empty()) return;
    const int advice = access == Access::random       ? MADV_RANDOM
                       : access == Access::sequential ? MADV_SEQUENTIAL
                       : access == Access::not_needed ? MADV_DONTNEED
                                                      : MADV_WILLNEED;
    // The kernel wants whole pages; rounding down the start keeps us inside the mapping, which starts on a
    // page.
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<std::uintptr_t>(part.data());
    const auto start = begin / page * page;
    (void)::madvise(reinterpret_cast<void*>(start), begin - start + part.size(), advice);
}

}  // namespace cachalot
