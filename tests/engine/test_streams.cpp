// What streams and events promise, on the host and on a device that runs everything late.
#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "support/fake_device.h"

namespace cachalot {
namespace {

using test::FakeDevice;

class Streams : public testing::TestWithParam<bool> {
  protected:
    const bool late_ = GetParam();
    const std::shared_ptr<FakeDevice> fake_ = std::make_shared<FakeDevice>(7);
    const std::shared_ptr<Device> device_ = late_ ? fake_ : make_host_device();
};

TEST_P(Streams, RunTheirWorkInItsOrder) {
    const auto stream = device_->make_stream();
    std::vector<int> done;
    for (int i = 0; i < 20; ++i) stream->run([&done, i] { done.push_back(i); });
    EXPECT_EQ(done.empty(), late_);
    const auto middle = stream->record();
    stream->run([&done] { done.push_back(20); });
    middle->synchronize();
    EXPECT_GE(done.size(), 20u);
    stream->synchronize();
    ASSERT_EQ(done.size(), 21u);
    for (int i = 0; i <= 20; ++i) EXPECT_EQ(done[static_cast<std::size_t>(i)], i);
}

// One stream makes what the other takes, many times; without the events the other would take what is not
// made.
TEST_P(Streams, WaitForEventsOfOthers) {
    const auto maker = device_->make_stream(), taker = device_->make_stream();
    int value = 0, seen = 0;
    bool right = true;
    for (int i = 1; i <= 50; ++i) {
        maker->run([&value, i] { value = i; });
        taker->wait(maker->record());
        taker->run([&, i] {
            right &= value == i;
            ++seen;
        });
        maker->wait(taker->record());  // before the value is overwritten
    }
    maker->synchronize();
    EXPECT_GE(seen, 49);
    taker->synchronize();
    EXPECT_EQ(seen, 50);
    EXPECT_TRUE(right);
    if (late_) {
        EXPECT_GT(fake_->switches(), 50);
    }
}

TEST_P(Streams, CopyBetweenHostAndDevice) {
    const auto stream = device_->make_stream();
    auto* memory = device_->allocate(1000, Device::Memory::device);
    std::vector<std::byte> from(1000, std::byte{42}), to(1000);
    stream->copy(memory, from.data(), from.size());
    stream->run([memory] { memory[7] = std::byte{1}; });
    stream->copy(to.data(), memory, to.size());
    stream->synchronize();
    from[7] = std::byte{1};
    EXPECT_EQ(to, from);
    device_->release(memory, 1000, Device::Memory::device);
}

TEST_P(Streams, NothingRunsBehindAFailureUntilItIsTold) {
    const auto stream = device_->make_stream(), other = device_->make_stream();
    int after = 0, beside = 0;
    auto all = [&] {
        stream->run([] { throw std::runtime_error("broken"); });
        stream->run([&after] { ++after; });
        other->run([&beside] { ++beside; });
        other->synchronize();
        stream->synchronize();
    };
    EXPECT_THROW(all(), std::runtime_error);
    EXPECT_EQ(after, 0);
    stream->run([&after] { ++after; });  // it works again
    stream->synchronize();
    EXPECT_EQ(after, 1);
    EXPECT_EQ(beside, late_ ? 1 : 0);  // on the host the failure came before it was given
}

INSTANTIATE_TEST_SUITE_P(, Streams, testing::Bool(),
                         [](const auto& each) { return each.param ? "late" : "host"; });

}  // namespace
}  // namespace cachalot
