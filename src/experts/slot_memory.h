// The memory of the expert cache: slots of one size, taken at once and never given back, so that nothing is
// allocated or mapped while the model runs, and the memory is never more than was asked for.
//
// It is on huge pages where the kernel has them: an expert is then a handful of entries in the processor's
// page tables instead of thousands, for the kernels as for the disk's reads. And it is locked if the user is
// allowed to, since a cache that is swapped out is worth nothing. Pages come into being when a slot is filled
// for the first time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/large_memory.h"

namespace cachalot {

class SlotMemory {
  public:
    // `slot_bytes` must be a multiple of 4096. Throws Error if there is not so much memory.
    SlotMemory(int slots, std::uint64_t slot_bytes);

    std::byte* slot(int i) const { return memory_.data() + static_cast<std::uint64_t>(i) * slot_bytes_; }
    std::uint64_t bytes() const { return memory_.size(); }
    bool locked() const { return locked_; }

  private:
    std::uint64_t slot_bytes_;
    LargeMemory memory_;
    bool locked_ = false;
};

}  // namespace cachalot
