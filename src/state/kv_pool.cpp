#include "state/kv_pool.h"

#include "base/error.h"

namespace cachalot {

std::int32_t BlockPool::allocate() {
    Buffer<std::byte> memory(device_);
    memory.reserve(static_cast<std::size_t>(std::max<std::int64_t>(1, block_bytes_)));
    std::lock_guard lock(mutex_);
    if (free_.empty()) {
        if (free_.capacity() <= blocks_.size())  // release() may not fail
            free_.reserve(2 * blocks_.size() + 1);
        blocks_.push_back({std::move(memory), 1});
        count_->add(block_bytes_);
        return static_cast<std::int32_t>(blocks_.size() - 1);
    }
    const auto id = free_.back();
    free_.pop_back();
    blocks_[static_cast<std::size_t>(id)] = {std::move(memory), 1};
    count_->add(block_bytes_);
    return id;
}

void BlockPool::share(std::span<const std::int32_t> ids) {
    std::lock_guard lock(mutex_);
    for (auto id : ids) ++blocks_[static_cast<std::size_t>(id)].owners;
}

void BlockPool::release(std::span<const std::int32_t> ids) noexcept {
    std::lock_guard lock(mutex_);
    for (auto id : ids) {
        auto& block = blocks_[static_cast<std::size_t>(id)];
        if (--block.owners > 0) continue;
        block.memory = Buffer<std::byte>(device_);
        free_.push_back(id);
        count_->remove(block_bytes_);
    }
}

bool BlockPool::shared(std::int32_t id) const {
    std::lock_guard lock(mutex_);
    return blocks_[static_cast<std::size_t>(id)].owners > 1;
}

std::byte* BlockPool::address(std::int32_t id) const {
    std::lock_guard lock(mutex_);
    return blocks_[static_cast<std::size_t>(id)].memory.address();
}

KvPool::KvPool(KvLayout layout, std::shared_ptr<Device> device, std::shared_ptr<MemoryCount> count)
    : layout_(std::move(layout)),
      device_(std::move(device)),
      count_(std::move(count)),
      stream_(device_->make_stream()),
      pages_(layout_.page_bytes(), device_, count_),
      slabs_(layout_.slab_bytes(), device_, count_) {}

KvPages::KvPages(const KvPages& other) : pool_(other.pool_), ids_(other.ids_), addresses_(other.addresses_) {
    if (pool_) pool_->pages().share(ids_);
}

void KvPages::extend(std::int64_t written, std::int64_t length, Stream& stream) {
    auto& pages = pool_->pages();
    const auto wanted = KvLayout::pages_for(length);
    const auto first = written / KvLayout::kPageTokens;
    if (written < length && first < size() && pages.shared(ids_[static_cast<std::size_t>(first)])) {
        const auto place = static_cast<std::size_t>(first);
        CACHALOT_CHECK(first + 1 == size());
        const std::int32_t shared = ids_[place], own = pages.allocate();
        try {
            stream.copy(pages.address(own), addresses_[place], static_cast<std::size_t>(pages.block_bytes()));
        } catch (...) {
            pages.release({&own, 1});
            throw;
        }
        ids_[place] = own;
        addresses_[place] = pages.address(own);
        stream.run([pool = pool_, shared] { pool->pages().release({&shared, 1}); });  // it is read until then
    }
    if (const auto most = static_cast<std::size_t>(wanted); most > ids_.capacity()) {
        ids_.reserve(std::max(most, 2 * ids_.capacity()));
        addresses_.reserve(ids_.capacity());
    }
    while (size() < wanted) {
        ids_.push_back(pages.allocate());
        addresses_.push_back(pages.address(ids_.back()));
        // Rows end with padding that nobody writes, and a state is the same bytes wherever it was computed.
        stream.zero(addresses_.back(), static_cast<std::size_t>(pages.block_bytes()));
    }
}

void KvPages::truncate(std::int64_t pages) noexcept {
    if (pages >= size()) return;
    pool_->pages().release(std::span(ids_).subspan(static_cast<std::size_t>(pages)));
    ids_.resize(static_cast<std::size_t>(pages));
    addresses_.resize(ids_.size());
}

KvSlab::KvSlab(const std::shared_ptr<KvPool>& pool) : KvSlab(pool, Unfilled()) {
    pool_->stream().zero(address(), static_cast<std::size_t>(pool_->slabs().block_bytes()));
}

KvSlab::KvSlab(const KvSlab& other) : KvSlab(other.pool_, Unfilled()) {
    pool_->stream().copy(address(), other.address(), static_cast<std::size_t>(pool_->slabs().block_bytes()));
    pool_->stream().synchronize();  // the other may be gone at any time
}

KvSlab::~KvSlab() {
    if (pool_) pool_->slabs().release({&id_, 1});
}

}  // namespace cachalot
