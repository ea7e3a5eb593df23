#include "base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace cachalot {
namespace {

bool is_open(int descriptor) { return ::fcntl(descriptor, F_GETFD) >= 0; }
UniqueFd opened() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

TEST(UniqueFd, ClosesWhatItHasOnce) {
    int number = -1;
    {
        const UniqueFd file = opened();
        number = file.get();
        ASSERT_TRUE(file);
        EXPECT_TRUE(is_open(number));
    }
    EXPECT_FALSE(is_open(number));
}

TEST(UniqueFd, IsNoneWithoutADescriptor) {
    EXPECT_FALSE(UniqueFd());
    EXPECT_FALSE(UniqueFd(-1));
    EXPECT_EQ(UniqueFd().get(), -1);
}

TEST(UniqueFd, MovesWithoutClosing) {
    UniqueFd first = opened();
    const int number = first.get();
    UniqueFd second = std::move(first);
    EXPECT_EQ(second.get(), number);
    EXPECT_TRUE(is_open(number));
    UniqueFd third = opened();
    const int closed = third.get();
    third = std::move(second);
    EXPECT_FALSE(is_open(closed));
    EXPECT_EQ(third.get(), number);
    EXPECT_TRUE(is_open(number));
}

TEST(UniqueFd, ReleasesWithoutClosing) {
    UniqueFd file = opened();
    const UniqueFd again(file.release());
    EXPECT_FALSE(file);
    EXPECT_TRUE(is_open(again.get()));
}

TEST(UniqueFd, LeavesErrnoAsItIs) {
    UniqueFd file = opened();
    const int number = file.release();
    UniqueFd bad(number);
    ::close(number);  // so that closing it fails
    errno = ENOSPC;
    bad.reset();
    EXPECT_EQ(errno, ENOSPC);
}

}  // namespace
}  // namespace cachalot
