// A batch in the memory of the device: all that tells one pass from another, as flat arrays that work on the
// device reads. It is loaded before the boxes run; they look at nothing else of the host.
#pragma once

#include <vector>

#include "device/buffer.h"
#include "state/batch.h"

namespace cachalot {

// The rows of one entry of Batch::sequences(), and where their state lies.
struct SequenceRows {
    std::int64_t start;        // position of the first row
    std::int64_t context_end;  // KvState::context_end(), with the context of this pass
    std::int64_t draft_begin;  // KvState::draft_begin()
    std::int32_t first, count;
    std::int32_t ahead;       // rows of context in front of these, in this pass
    std::int32_t context_of;  // see BatchRows
    std::byte* slab;
    std::byte* const* pages;
};

class BatchMirror {
  public:
    explicit BatchMirror(const std::shared_ptr<Device>& device)
        : tokens_(device), positions_(device), wanted_(device), pages_(device), sequences_(device) {}

    void load(const Batch& batch, Stream& stream);

    // From here on the batch is without its rows of context, which are the last ones.
    void leave_context() {
        rows_ -= context_rows_;
        sequences_left_ = sequences_beyond_context_;
        context_left_ = true;
    }
    bool context_left() const { return context_left_; }

    // How many there are is known to the host, too.
    int rows() const { return rows_; }
    int all_rows() const { return all_rows_; }  // with those of context that were left
    std::size_t sequences_beyond_context() const { return sequences_beyond_context_; }
    std::span<const std::int32_t> tokens() const { return {tokens_.address(), count(rows_)}; }
    std::span<const std::int64_t> positions() const { return {positions_.address(), count(rows_)}; }
    std::span<const std::int32_t> wanted() const { return {wanted_.address(), wanted_rows_}; }
    std::span<const SequenceRows> sequences() const { return {sequences_.address(), sequences_left_}; }

  private:
    static std::size_t count(int n) { return static_cast<std::size_t>(n); }

    int rows_ = 0, all_rows_ = 0, context_rows_ = 0;
    bool context_left_ = false;
    std::size_t sequences_left_ = 0, sequences_beyond_context_ = 0, wanted_rows_ = 0;
    Buffer<std::int32_t> tokens_;        // [rows]
    Buffer<std::int64_t> positions_;     // [rows]
    Buffer<std::int32_t> wanted_;        // [wanted rows]
    Buffer<std::byte*> pages_;           // of one sequence after the other
    Buffer<SequenceRows> sequences_;     // [sequences]
    std::vector<SequenceRows> here_;     // what was copied to sequences_, until it was
    std::vector<std::byte*> page_list_;  // likewise to pages_
};

}  // namespace cachalot
