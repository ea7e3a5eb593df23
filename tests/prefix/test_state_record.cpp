#include <gmock/gmock.h>

#include "base/out_of_memory.h"
#include "prefix/state_record.h"
#include "support/disk_states.h"

namespace cachalot::test {
namespace {

const ChainKey kModel = hash128(std::as_bytes(std::span("model", 5)));

std::vector<std::byte> record_of(const Tokens& tokens) {
    const KvCodec codec(small_pool());
    std::vector<std::byte> bytes(record_bytes(codec, static_cast<std::int64_t>(tokens.size())));
    write_state(codec, kModel, tokens, state_of(tokens).checkpoint(), bytes);
    return bytes;
}

StateRecord read(std::span<const std::byte> bytes, const ChainKey& model = kModel) {
    return StateRecord(KvCodec(small_pool()), model, bytes);
}

KvCheckpoint state_in(const std::vector<std::byte>& bytes) {
    return read(bytes).state(KvCodec(small_pool()));
}

// A host whose memory may be used up.
class FullDevice final : public Device {
  public:
    bool full = false;

    const char* name() const override { return host_->name(); }
    std::byte* allocate(std::size_t bytes, Memory kind) override {
        if (full) throw OutOfMemory("there is no more");
        return host_->allocate(bytes, kind);
    }
    void release(std::byte* memory, std::size_t bytes, Memory kind) noexcept override {
        host_->release(memory, bytes, kind);
    }
    std::optional<std::uint64_t> free_memory() const override { return host_->free_memory(); }
    std::unique_ptr<Stream> make_stream() override { return host_->make_stream(); }

  private:
    const std::shared_ptr<Device> host_ = make_host_device();
};

// Lengths around pages, groups of compressors and the window.
TEST(StateRecord, AStateComesBackAsItWas) {
    for (const std::size_t n : {1, 3, 4, 31, 32, 33, 127, 128, 129, 255, 256, 257, 700}) {
        const auto tokens = talk(1, n);
        const auto bytes = record_of(tokens);
        EXPECT_EQ(read(bytes).tokens(), tokens);
        EXPECT_TRUE(same(state_in(bytes), state_of(tokens).checkpoint())) << n;
    }
}

TEST(StateRecord, ARestoredStateIsAsGoodAsTheFirst) {
    const auto tokens = talk(2, 300);
    auto state = empty_state();
    state.restore(state_in(record_of(tokens)));
    EXPECT_EQ(state.length(), 300);
    EXPECT_TRUE(same(state.checkpoint(), state_of(tokens).checkpoint()));
}

TEST(StateRecord, WhatIsCutOffOrLongerIsRefused) {
    auto bytes = record_of(talk(1, 40));
    for (std::size_t size = 0; size < bytes.size(); size += size < 64 ? 1 : 997)
        EXPECT_THROW(read(std::span(bytes).first(size)), Error) << size;
    bytes.push_back(std::byte{0});
    EXPECT_THROW(read(bytes), Error);
}

// With a hash that fits: nothing but the sizes is left to notice it.
TEST(StateRecord, NoNumberOfTokensIsBelieved) {
    const auto bytes = record_of(talk(1, 40));
    for (const std::uint64_t count : {std::uint64_t(0), std::uint64_t(39), std::uint64_t(41),
                                      std::uint64_t(1) << 31, std::uint64_t(1) << 62, ~std::uint64_t(0)}) {
        auto forged = bytes;
        for (unsigned i = 0; i < 8; ++i) forged[24 + i] = static_cast<std::byte>(count >> (8 * i));
        const auto hash = hash128(std::span(forged).first(forged.size() - 16));
        std::ranges::copy(hash, forged.end() - 16);
        EXPECT_THROW(read(forged), Error) << count;
    }
}

// A record is checked without memory for states; that there is none is no fault of the record.
TEST(StateRecord, MissingMemoryIsToldApart) {
    const auto device = std::make_shared<FullDevice>();
    const auto pool = std::make_shared<KvPool>(KvLayout(small_config(), KvPrecision::reference), device);
    const KvCodec codec(pool);
    const auto bytes = record_of(talk(1, 300));
    device->full = true;
    const StateRecord record(codec, kModel, bytes);
    EXPECT_EQ(pool->memory()->bytes(), 0);
    EXPECT_THROW(record.state(codec), OutOfMemory);
    EXPECT_EQ(pool->memory()->bytes(), 0);
    device->full = false;
    EXPECT_EQ(record.state(codec).length, 300);
}

TEST(StateRecord, EveryDamagedByteIsNoticed) {
    const auto bytes = record_of(talk(1, 5));
    for (std::size_t at = 0; at < bytes.size(); at += at < 64 ? 1 : 101) {
        auto damaged = bytes;
        damaged[at] ^= std::byte{1};
        EXPECT_THROW(read(damaged), Error) << at;
    }
}

TEST(StateRecord, AnotherModelsStateIsRefused) {
    const auto bytes = record_of(talk(1, 5));
    try {
        read(bytes, hash128({}));
        FAIL();
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), testing::HasSubstr("another model"));
    }
}

}  // namespace
}  // namespace cachalot::test
