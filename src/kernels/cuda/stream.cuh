// Weights on their way from memory to a warp: what the kernels that are as fast as memory have in common.
//
// A warp has a ring of slots in shared memory. One lane asks the copy engine for the next weights, which lie
// together (cp.async.bulk, Hopper and newer), into slots that are free; the warp waits for a slot's barrier,
// computes, and gives the slot back. No other warp is waited for. So each multiprocessor has as many bytes on
// their way as its rings hold, whatever its warps do, and memory needs some 30 KB of each to be busy.
//
// Between kernels: the next one is started early (programmatic launch) where it finds shared memory, fills
// its rings with weights, which nobody writes, and only then waits for the results of the kernel before.
// Every kernel waits before it ends.
#pragma once

#include <cstdint>

#include "kernels/cuda/block.cuh"

namespace cachalot::cuda {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define CACHALOT_STREAMS 1
#endif

__device__ inline unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// What was written by the kernel before is there from here on.
__device__ inline void wait_for_inputs() {
#ifdef CACHALOT_STREAMS
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The kernel behind may begin where there is room.
__device__ inline void let_next_begin() {
#ifdef CACHALOT_STREAMS
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Of one warp. kSlots slots of `slot_bytes` each, a multiple of 16; the barriers lie in shared memory, too.
template <int kSlots>
class Ring {
  public:
    // All lanes come here. Copies may be asked for afterwards.
    __device__ Ring(std::byte* slots, std::uint64_t* barriers, int slot_bytes)
        : slots_(slots), barriers_(barriers), slot_bytes_(slot_bytes) {
#ifdef CACHALOT_STREAMS
        if (lane() < kSlots)
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barriers_ + lane())));
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncwarp();
#endif
    }

    // The next free slot is going to receive so many bytes, in the copies that follow; of lane 0.
    __device__ void expect(unsigned bytes) {
#ifdef CACHALOT_STREAMS
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier(asked_ % kSlots)),
                     "r"(bytes)
                     : "memory");
#endif
    }
    // Asks for bytes to an offset of that slot: 16-byte aligned, a multiple of 16; of lane 0.
    __device__ void copy(int offset, const void* from, unsigned bytes) {
#ifdef CACHALOT_STREAMS
        asm volatile(
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                shared_address(slots_ + asked_ % kSlots * slot_bytes_ + offset)),
            "l"(from), "r"(bytes), "r"(barrier(asked_ % kSlots))
            : "memory");
#endif
    }
    __device__ void asked() { ++asked_; }  // of all lanes: the slot's copies were asked for
    __device__ bool full() const { return asked_ - taken_ == kSlots; }
    __device__ bool empty() const { return asked_ == taken_; }

    // Waits for the oldest slot and returns it; of all lanes.
    __device__ const std::byte* take() {
        const unsigned slot = taken_ % kSlots;
#ifdef CACHALOT_STREAMS
        unsigned done = 0;
        while (!done)
            asm volatile(
                "{\n"
                ".reg .pred there;\n"
                "mbarrier.try_wait.parity.shared::cta.b64 there, [%1], %2;\n"
                "selp.u32 %0, 1, 0, there;\n"
                "}\n"
                : "=r"(done)
                : "r"(barrier(slot)), "r"(taken_ / kSlots & 1)
                : "memory");
#endif
        return slots_ + slot * slot_bytes_;
    }
    // The slot that was taken is free again; of all lanes, which have read what they need.
    __device__ void give_back() {
        ++taken_;
        __syncwarp();
    }

  private:
    __device__ unsigned barrier(unsigned slot) const { return shared_address(barriers_ + slot); }

    std::byte* slots_;
    std::uint64_t* barriers_;
    int slot_bytes_;
    unsigned asked_ = 0, taken_ = 0;
};

}  // namespace cachalot::cuda
