// The memory of all attention states of one device: pages and slabs (kv_layout.h), each with an id.
//
// A page may have several owners, the sequences and checkpoints that begin with the same tokens, and is freed
// with the last. It is written only by an owner that is alone; whoever shares the page that it is about to
// write to takes a copy. So a row that somebody else can see never changes. A slab has one owner.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "device/buffer.h"
#include "state/kv_layout.h"
#include "state/memory_count.h"

namespace cachalot {

// Blocks of one size, with owners that are counted. Any thread may use it.
class BlockPool {
  public:
    BlockPool(std::int64_t block_bytes, std::shared_ptr<Device> device, std::shared_ptr<MemoryCount> count)
        : block_bytes_(block_bytes), device_(std::move(device)), count_(std::move(count)) {}

    std::int32_t allocate();  // with one owner; contents undefined. Throws OutOfMemory
    void share(std::span<const std::int32_t> ids);
    void release(std::span<const std::int32_t> ids) noexcept;
    bool shared(std::int32_t id) const;
    std::byte* address(std::int32_t id) const;  // of the device
    std::int64_t block_bytes() const { return block_bytes_; }

  private:
    struct Block {
        Buffer<std::byte> memory;
        int owners = 0;
    };
    std::int64_t block_bytes_;
    std::shared_ptr<Device> device_;
    std::shared_ptr<MemoryCount> count_;
    mutable std::mutex mutex_;
    std::vector<Block> blocks_;       // [id]
    std::vector<std::int32_t> free_;  // ids without memory; has room for all
};

class KvPool {
  public:
    // `count` is told of every byte of pages, slabs and checkpoints.
    KvPool(KvLayout layout, std::shared_ptr<Device> device,
           std::shared_ptr<MemoryCount> count = std::make_shared<MemoryCount>());

    const KvLayout& layout() const { return layout_; }
    const std::shared_ptr<Device>& device() const { return device_; }
    const std::shared_ptr<MemoryCount>& memory() const { return count_; }
    BlockPool& pages() { return pages_; }
    BlockPool& slabs() { return slabs_; }

    // The order of all that passes and states do with this memory. One thread at a time may use it.
    Stream& stream() { return *stream_; }

  private:
    KvLayout layout_;
    std::shared_ptr<Device> device_;
    std::shared_ptr<MemoryCount> count_;
    std::unique_ptr<Stream> stream_;
    BlockPool pages_, slabs_;
};

// The pages of a sequence or of a checkpoint, in the order of their tokens.
class KvPages {
  public:
    KvPages() = default;
    explicit KvPages(std::shared_ptr<KvPool> pool) : pool_(std::move(pool)) {}
    ~KvPages() { truncate(0); }
    KvPages(const KvPages& other);
    KvPages(KvPages&& other) noexcept { swap(other); }
    KvPages& operator=(KvPages other) noexcept {
        swap(other);
        return *this;
    }

    const std::shared_ptr<KvPool>& pool() const { return pool_; }
    std::int64_t size() const { return static_cast<std::int64_t>(ids_.size()); }
    std::span<const std::int32_t> ids() const { return ids_; }
    std::byte* const* addresses() const { return addresses_.data(); }  // [size()]

    // Room for tokens up to `length`, of which those from `written` on are going to be written.
    void extend(std::int64_t written, std::int64_t length, Stream& stream);

    // Forgets the pages from the one with this number on.
    void truncate(std::int64_t pages) noexcept;

  private:
    void swap(KvPages& other) noexcept {
        pool_.swap(other.pool_);
        ids_.swap(other.ids_);
        addresses_.swap(other.addresses_);
    }

    std::shared_ptr<KvPool> pool_;
    std::vector<std::int32_t> ids_;
    std::vector<std::byte*> addresses_;  // of ids_, as kernels want them
};

// The slab of a running sequence. A copy is another slab with the same contents.
class KvSlab {
  public:
    explicit KvSlab(const std::shared_ptr<KvPool>& pool);  // all zero
    ~KvSlab();
    KvSlab(const KvSlab& other);
    KvSlab(KvSlab&& other) noexcept : pool_(std::move(other.pool_)), id_(other.id_) {}
    KvSlab& operator=(KvSlab other) noexcept {
        pool_.swap(other.pool_);
        std::swap(id_, other.id_);
        return *this;
    }

    std::byte* address() const { return pool_->slabs().address(id_); }

  private:
    struct Unfilled {};
    KvSlab(std::shared_ptr<KvPool> pool, Unfilled /*contents*/)
        : pool_(std::move(pool)), id_(pool_->slabs().allocate()) {}

    std::shared_ptr<KvPool> pool_;  // null when it was moved
    std::int32_t id_;
};

}  // namespace cachalot
