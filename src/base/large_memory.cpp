#include "base/large_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "base/checked.h"
#include "base/error.h"

namespace cachalot {

LargeMemory::LargeMemory(std::size_t bytes, const char* what) : size_(bytes) {
    // Addresses cost nothing: the mapping is larger, so that it can begin on a huge page.
    mapped_ = checked_add(bytes, kHugePage, what);
    mapping_ =
        ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping_ == MAP_FAILED)
        fail("{}: cannot get {} bytes of memory: {}", what, bytes, std::generic_category().message(errno));
    const auto address = reinterpret_cast<std::uintptr_t>(mapping_);
    data_ = reinterpret_cast<std::byte*>((address + kHugePage - 1) / kHugePage * kHugePage);
#if defined(MADV_HUGEPAGE)
    // Whole huge pages only, so that no more memory is taken than was asked for.
    (void)::madvise(data_, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
}

LargeMemory::~LargeMemory() { ::munmap(mapping_, mapped_); }

}  // namespace cachalot
