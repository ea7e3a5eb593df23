#include "base/checked.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace cachalot {
namespace {

TEST(Checked, OverflowIsAnErrorThatNamesTheQuantity) {
    EXPECT_EQ(checked_mul<std::uint64_t>(1u << 31, 1u << 31, "size"), std::uint64_t(1) << 62);
    EXPECT_EQ(checked_add<std::int64_t>(INT64_MAX - 1, 1, "size"), INT64_MAX);
    try {
        checked_mul<std::uint64_t>(UINT64_MAX, 2, "tensor size");
        FAIL();
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("tensor size"), std::string::npos);
    }
    EXPECT_THROW(checked_add<std::int64_t>(INT64_MAX, 1, "x"), Error);
    EXPECT_THROW(checked_mul<std::int64_t>(INT64_MIN, -1, "x"), Error);
}

TEST(Checked, CastsKeepTheValueOrFail) {
    EXPECT_EQ(checked_cast<std::int32_t>(std::uint64_t{7}, "x"), 7);
    EXPECT_THROW(checked_cast<std::int32_t>(std::uint64_t{1} << 31, "x"), Error);
    EXPECT_THROW(checked_cast<std::uint32_t>(-1, "x"), Error);
}

}  // namespace
}  // namespace cachalot
