// Nodes of a machine as Linux shows them.
#include "base/numa.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

#include "base/thread_pool.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

class NumaTest : public testing::Test {
  protected:
    ~NumaTest() override { fs::remove_all(root); }
    void node(int id, const std::string& cores) {
        const auto folder = root / "devices/system/node" / ("node" + std::to_string(id));
        fs::create_directories(folder);
        std::ofstream(folder / "cpulist") << cores << "\n";
    }
    const fs::path root = fs::temp_directory_path() / ("cachalot-numa-" + std::to_string(getpid()));
};

TEST_F(NumaTest, OnlyCoresOfThisProcessCount) {
    EXPECT_TRUE(numa_nodes(root).empty());
    node(0, "0-1023");
    node(2, "1000-1023");  // more than the machine has
    node(3, "nonsense");
    node(5, "4-");
    const auto nodes = numa_nodes(root);
    ASSERT_EQ(nodes.size(), 1u);
    EXPECT_EQ(nodes[0].id, 0);
    EXPECT_LE(nodes[0].cores.size(), std::thread::hardware_concurrency());
    EXPECT_GE(nodes[0].cores.size(), 1u);
}

TEST(Numa, ThreadsAreSpreadInProportion) {
    const std::vector<NumaNode> even = {{0, {0, 1}}, {1, {2, 3}}}, uneven = {{0, {0, 1, 2}}, {4, {3}}};
    EXPECT_EQ(spread_threads(even, 4), (std::vector<std::size_t>{0, 0, 1, 1}));
    EXPECT_EQ(spread_threads(even, 2), (std::vector<std::size_t>{0, 1}));
    EXPECT_EQ(spread_threads(uneven, 4), (std::vector<std::size_t>{0, 0, 0, 1}));
    EXPECT_EQ(spread_threads(even, 8), (std::vector<std::size_t>{0, 0, 0, 0, 1, 1, 1, 1}));
    EXPECT_TRUE(spread_threads({}, 3).empty());
}

#if defined(__linux__)
TEST(Numa, WorkersOfASpreadPoolStayOnTheirNode) {
    const auto nodes = numa_nodes();
    if (nodes.empty()) GTEST_SKIP() << "this system does not show its nodes";
    const auto node_of = spread_threads(nodes, 3);
    ThreadPool pool(3, nodes);
    std::vector<std::vector<int>> cores(3);
    std::atomic<int> waiting{3};
    pool.parallel_for(3, [&](std::int64_t, int thread) {
        cpu_set_t set;
        ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
        for (int c = 0; c < CPU_SETSIZE; ++c)
            if (CPU_ISSET(c, &set)) cores[static_cast<std::size_t>(thread)].push_back(c);
        for (--waiting; waiting > 0;) std::this_thread::yield();  // so that each thread takes one
    });
    for (std::size_t t = 1; t < 3; ++t) EXPECT_EQ(cores[t], nodes[node_of[t]].cores);
}
#endif

}  // namespace
}  // namespace cachalot
