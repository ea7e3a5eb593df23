// Append-only rows in pages that sequences with a common prefix share.
//
// Copying (a fork, a checkpoint) copies the list of pages, not the rows. A page is written only by an owner who is
// alone: `extend` replaces a shared page that it is about to write to by a copy. So a row that somebody else can see
// never changes.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/views.h"
#include "state/memory_count.h"

namespace cachalot {

class PagedRows {
  public:
    static constexpr int kPageShift = 6;
    static constexpr std::int64_t kPageRows = std::int64_t(1) << kPageShift;

    PagedRows() = default;
    explicit PagedRows(std::int64_t row_bytes, CountedAllocator<std::byte> allocator = {})
        : row_bytes_(row_bytes), allocator_(std::move(allocator)) {}

    std::int64_t size() const { return size_; }
    std::int64_t row_bytes() const { return row_bytes_; }
    std::int64_t page_bytes() const { return kPageRows * row_bytes_; }
    std::size_t pages() const { return pages_.size(); }
    static std::int64_t pages_for(std::int64_t rows) { return (rows + kPageRows - 1) >> kPageShift; }

    // Makes room for rows up to `size`; the new ones are to be written through view().
    void extend(std::int64_t size) {
        if (size <= size_) return;
        if (auto last = static_cast<std::size_t>(size_ >> kPageShift);
            last < pages_.size() && pages_[last].use_count() > 1) {
            auto own = new_page();
            std::memcpy(own.get(), pages_[last].get(), static_cast<std::size_t>(page_bytes()));
            addresses_[last] = own.get();
            pages_[last] = std::move(own);
        }
        while (static_cast<std::int64_t>(pages_.size()) * kPageRows < size) {
            pages_.push_back(new_page());
            addresses_.push_back(pages_.back().get());
        }
        size_ = size;
    }

    // Forgets the rows from `size` on.
    void truncate(std::int64_t size) {
        size_ = size;
        pages_.resize(static_cast<std::size_t>(pages_for(size)));
        addresses_.resize(pages_.size());
    }

    PagedView view() const { return {addresses_.data(), kPageShift, row_bytes_}; }

  private:
    std::shared_ptr<std::byte[]> new_page() const {
        auto size = static_cast<std::size_t>(page_bytes());
        auto allocator = allocator_;
        return std::shared_ptr<std::byte[]>(
            allocator.allocate(size),
            [allocator, size](std::byte* page) mutable { allocator.deallocate(page, size); });
    }

    std::int64_t row_bytes_ = 0, size_ = 0;
    CountedAllocator<std::byte> allocator_;
    std::vector<std::shared_ptr<std::byte[]>> pages_;
    std::vector<std::byte*> addresses_;  // of pages_, as the kernels want them
};

}  // namespace cachalot
