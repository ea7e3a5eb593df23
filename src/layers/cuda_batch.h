// A batch in the memory of a card: one block of bytes that is sent at once, with everything in its place. The
// places stay the same while the batch fits, so that kernels that were recorded find the next one.
#pragma once

#include "device/buffer.h"
#include "kernels/cuda/batch_view.h"
#include "state/batch.h"

namespace cachalot {

class CudaBatch {
  public:
    explicit CudaBatch(const std::shared_ptr<Device>& device)
        : here_(device, Device::Memory::pinned), there_(device) {}

    // `scratch`: bytes of the rings of each sequence; each gets as many of `scratch_memory`. Returns whether
    // the places are others now. The batch that was loaded before has been computed.
    bool load(const Batch& batch, Stream& stream, std::byte* scratch_memory, std::int64_t scratch);

    const cuda::BatchView& view() const { return view_; }
    std::int64_t deepest() const { return deepest_; }    // tokens of the longest sequence, behind the pass
    bool only_decodes() const { return only_decodes_; }  // one row of each sequence, all wanted

  private:
    bool make_room(std::size_t rows, std::size_t sequences, std::size_t pages);

    std::size_t rows_ = 0, sequences_ = 0, pages_ = 0;  // that there is room for
    std::size_t bytes_ = 0;                             // before the pages
    std::int64_t deepest_ = 0;
    bool only_decodes_ = false;
    cuda::BatchView view_;
    std::byte** page_list_ = nullptr;  // on the card
    Buffer<std::byte> here_, there_;
};

}  // namespace cachalot
