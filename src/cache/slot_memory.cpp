#include "cache/slot_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <system_error>

#include "base/checked.h"
#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::uint64_t kHugePage = std::uint64_t(2) << 20;

// Pages are locked as they come, where that is possible: locking all at once would also make them all.
bool lock(void* address, std::size_t size) {
#if defined(__linux__)
    return ::mlock2(address, size, MLOCK_ONFAULT) == 0;
#else
    return ::mlock(address, size) == 0;
#endif
}

}  // namespace

SlotMemory::SlotMemory(int slots, std::uint64_t slot_bytes)
    : slot_bytes_(slot_bytes),
      bytes_(checked_mul(slot_bytes, static_cast<std::uint64_t>(slots), "the expert cache")) {
    CACHALOT_CHECK(slots > 0 && slot_bytes % 4096 == 0);
    // Addresses cost nothing: the mapping is larger, so that the slots can begin on a huge page.
    mapped_ =
        checked_cast<std::size_t>(checked_add(bytes_, kHugePage, "the expert cache"), "the expert cache");
    mapping_ =
        ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping_ == MAP_FAILED)
        fail("the expert cache: cannot get {} bytes of memory: {}", bytes_,
             std::generic_category().message(errno));
    const auto address = reinterpret_cast<std::uintptr_t>(mapping_);
    first_ = reinterpret_cast<std::byte*>((address + kHugePage - 1) / kHugePage * kHugePage);
#if defined(MADV_HUGEPAGE)
    // Whole huge pages only: the last one would reach beyond the budget.
    (void)::madvise(first_, static_cast<std::size_t>(bytes_ / kHugePage * kHugePage), MADV_HUGEPAGE);
#endif
    locked_ = lock(first_, static_cast<std::size_t>(bytes_));
}

SlotMemory::~SlotMemory() { ::munmap(mapping_, mapped_); }

}  // namespace cachalot
