#include "experts/slot_memory.h"

#include <sys/mman.h>

#include "base/checked.h"
#include "base/error.h"

namespace cachalot {
namespace {

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
      memory_(checked_cast<std::size_t>(
                  checked_mul(slot_bytes, static_cast<std::uint64_t>(slots), "the expert cache"),
                  "the expert cache"),
              "the expert cache") {
    CACHALOT_CHECK(slots > 0 && slot_bytes % 4096 == 0);
    locked_ = lock(memory_.data(), memory_.size());
}

}  // namespace cachalot
