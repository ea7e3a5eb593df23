#include "server/http/pace.h"

#include <gtest/gtest.h>

namespace cachalot::server {
namespace {

using namespace std::chrono_literals;

TEST(Pace, AllTogetherKeepIt) {
    Pace pace(1000);  // a byte a millisecond
    const auto now = Pace::Clock::now();
    EXPECT_EQ(pace.after(5, now), 5ms);
    EXPECT_EQ(pace.after(5, now), 10ms);
    EXPECT_EQ(pace.after(5, now + 8ms), 7ms);
    EXPECT_EQ(pace.after(5, now + 1s), 5ms);  // what nobody asked for is not saved up
}

}  // namespace
}  // namespace cachalot::server
