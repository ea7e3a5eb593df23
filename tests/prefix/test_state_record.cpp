#include <gmock/gmock.h>

#include "base/error.h"
#include "prefix/state_record.h"
#include "support/disk_states.h"

namespace cachalot::test {
namespace {

const ChainKey kModel = hash128(std::as_bytes(std::span("model", 5)));

std::vector<std::byte> record_of(const Tokens& tokens) {
    return write_state(KvCodec(small_pool()), kModel, tokens, state_of(tokens).checkpoint());
}

StateRecord read(std::span<const std::byte> bytes, const ChainKey& model = kModel) {
    return read_state(KvCodec(small_pool()), model, bytes);
}

// Lengths around pages, groups of compressors and the window.
TEST(StateRecord, AStateComesBackAsItWas) {
    for (const std::size_t n : {1, 3, 4, 31, 32, 33, 127, 128, 129, 255, 256, 257, 700}) {
        const auto tokens = talk(1, n);
        const auto record = read(record_of(tokens));
        EXPECT_EQ(record.tokens, tokens);
        EXPECT_TRUE(same(record.state, state_of(tokens).checkpoint())) << n;
    }
}

TEST(StateRecord, ARestoredStateIsAsGoodAsTheFirst) {
    const auto tokens = talk(2, 300);
    auto state = empty_state();
    state.restore(read(record_of(tokens)).state);
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
