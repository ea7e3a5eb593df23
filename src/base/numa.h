// Machines whose memory is divided among groups of cores (nodes): a core reads its own node's memory faster
// than another's.
//
// Any thread may compute any part of a matrix here, so weights belong to no node. What helps is that no node
// does all the work and no node's memory serves all the reading: threads are spread over the nodes as these
// have cores, each bound to the cores of its node (not to one of them, so that it can step aside for another
// process), and new pages go to the nodes in turn. Pages of files that are in memory already stay where they
// are.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

namespace cachalot {

struct NumaNode {
    int id = 0;
    std::vector<int> cores;  // that this process may use
};

// Nodes with cores for this process, by number; none where the system does not say. `root` is /sys but in
// tests.
std::vector<NumaNode> numa_nodes(const std::filesystem::path& root = "/sys");

// The node of each of `threads` threads: neighbours together, in proportion to the nodes' cores.
std::vector<std::size_t> spread_threads(std::span<const NumaNode> nodes, int threads);

// The calling thread runs on these cores only. False if the system does not allow it.
bool bind_thread(std::span<const int> cores);

// Pages that the calling thread, or threads that it starts from now on, touch for the first time are taken
// from the nodes in turn. False if the system does not allow it.
bool interleave_memory(std::span<const NumaNode> nodes);

}  // namespace cachalot
