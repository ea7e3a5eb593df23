#include "file/mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

std::string reason() { return std::generic_category().message(errno); }

#if defined(MADV_HUGEPAGE)
// Where the kernel keeps files in large pieces and the addresses allow it, it maps 2 MiB by one entry of the
// page tables: a model is then read faster, and the first use of a part of it costs a fault for each 2 MiB
// instead of each 64 KiB. So a large file is mapped where a huge page could begin.
void* map_aligned(int descriptor, std::size_t size) {
    constexpr std::size_t kHugePage = std::size_t(2) << 20;
    if (size < kHugePage || size > SIZE_MAX - kHugePage)
        return ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
    void* room =
        ::mmap(nullptr, size + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return room;
    const auto first = reinterpret_cast<std::uintptr_t>(room);
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const std::uintptr_t start = (first + kHugePage - 1) / kHugePage * kHugePage,
                         end = (start + size + page - 1) / page * page,
                         last = (first + size + kHugePage) / page * page;
    void* address =
        ::mmap(reinterpret_cast<void*>(start), size, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor, 0);
    if (address == MAP_FAILED) {
        const int error = errno;
        ::munmap(room, size + kHugePage);
        errno = error;
        return address;
    }
    if (start > first) ::munmap(room, start - first);
    if (last > end) ::munmap(reinterpret_cast<void*>(end), last - end);
    (void)::madvise(address, size, MADV_HUGEPAGE);
    return address;
}
#else
void* map_aligned(int descriptor, std::size_t size) {
    return ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
}
#endif

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : file_(path) {
    const auto size = static_cast<std::size_t>(file_.size());
    if (size == 0) return;  // mmap refuses to map nothing
    void* address = map_aligned(descriptor(), size);
    if (address == MAP_FAILED) fail("{}: cannot map {} bytes: {}", file_.path(), size, reason());
    bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() { unmap(); }

MappedFile::MappedFile(MappedFile&& other) noexcept
    : file_(std::move(other.file_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    if (this != &other) {
        unmap();
        file_ = std::move(other.file_);
        bytes_ = std::exchange(other.bytes_, {});
    }
    return *this;
}

void MappedFile::unmap() noexcept {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    bytes_ = {};
}

void MappedFile::check_not_truncated() const {
    struct stat status = {};
    if (::fstat(descriptor(), &status) != 0) fail("{}: cannot read its size: {}", path(), reason());
    if (std::cmp_less(status.st_size, bytes_.size()))
        fail("{}: was truncated from {} to {} bytes while in use", path(), bytes_.size(), status.st_size);
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
