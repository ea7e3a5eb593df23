// Memory limits of trees of files as Linux shows them.
#include "base/memory_limit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace cachalot {
namespace {

namespace fs = std::filesystem;

class MemoryLimitTest : public testing::Test {
  protected:
    MemoryLimitTest() {
        fs::remove_all(root);
        write("proc/meminfo",
              "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:   12000 kB\n");
    }
    ~MemoryLimitTest() override { fs::remove_all(root); }
    void write(const std::string& path, const std::string& text) {
        fs::create_directories((root / path).parent_path());
        std::ofstream(root / path) << text;
    }
    void expect(std::uint64_t total, std::uint64_t available, bool of_group) {
        const MemoryLimit limit = memory_limit(root);
        EXPECT_EQ(limit.total, total);
        EXPECT_EQ(limit.available, available);
        EXPECT_EQ(limit.of_group, of_group);
    }
    const fs::path root = fs::temp_directory_path() / ("cachalot-memory-" + std::to_string(getpid()));
};

TEST_F(MemoryLimitTest, OfAMachine) {
    expect(16'384'000, 12'288'000, false);
    write("proc/self/cgroup", "0::/user.slice\n");
    write("sys/fs/cgroup/user.slice/memory.max", "max\n");
    expect(16'384'000, 12'288'000, false);
}

TEST_F(MemoryLimitTest, TheTightestGroupCounts) {
    write("proc/self/cgroup", "0::/a/b\n");
    write("sys/fs/cgroup/a/b/memory.max", "9000000\n");
    write("sys/fs/cgroup/a/memory.max", "5000000\n");
    write("sys/fs/cgroup/a/memory.current", "3000000\n");
    write("sys/fs/cgroup/a/memory.stat",
          "anon 1000000\nfile 2000000\ninactive_file 1500000\nactive_file 500000\n");
    expect(5'000'000, 4'000'000, true);  // what caches files can be had
}

TEST_F(MemoryLimitTest, OfAContainerWhoseGroupIsTheRoot) {
    write("proc/self/cgroup", "0::/docker/0123\n");
    write("sys/fs/cgroup/memory.max", "7000000\n");
    expect(7'000'000, 7'000'000, true);
}

TEST_F(MemoryLimitTest, VersionOne) {
    write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n0::/x\n");
    write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "8000000\n");
    write("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "6000000\n");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    expect(8'000'000, 2'000'000, true);
}

TEST_F(MemoryLimitTest, NonsenseIsNoLimit) {
    write("proc/self/cgroup", "what\n0::\n::::\n0::/../../x\n");
    write("sys/fs/cgroup/memory.max", "-3\n");
    expect(16'384'000, 12'288'000, false);
}

TEST(MemoryLimits, OfThisMachine) {
    const MemoryLimit limit = memory_limit();
    EXPECT_GT(limit.total, 100'000'000u);
    EXPECT_LE(limit.available, limit.total);
    EXPECT_GT(limit.available, 0u);
}

}  // namespace
}  // namespace cachalot
