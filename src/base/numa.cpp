#include "base/numa.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cachalot {
namespace {

constexpr int kMostCores = 1024, kMostNodes = 64;

// "0-3,8": as Linux writes sets of cores. What is not a number ends the list.
std::vector<int> parse_cores(std::string_view text) {
    std::vector<int> cores;
    const char *at = text.data(), *end = at + text.size();
    while (at < end) {
        int first = 0;
        auto parsed = std::from_chars(at, end, first);
        if (parsed.ec != std::errc() || first < 0) break;
        int last = first;
        if (parsed.ptr < end && *parsed.ptr == '-') {
            parsed = std::from_chars(parsed.ptr + 1, end, last);
            if (parsed.ec != std::errc()) break;
        }
        for (int core = first; core <= std::min(last, kMostCores - 1); ++core) cores.push_back(core);
        if (parsed.ptr >= end || *parsed.ptr != ',') break;
        at = parsed.ptr + 1;
    }
    return cores;
}

bool may_use(int core) {
#if defined(__linux__)
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) != 0 || (core < CPU_SETSIZE && CPU_ISSET(core, &set));
#else
    return core >= 0;
#endif
}

}  // namespace

std::vector<NumaNode> numa_nodes(const std::filesystem::path& root) {
    std::vector<NumaNode> nodes;
    for (int id = 0; id < kMostNodes; ++id) {
        std::ifstream file(root / "devices/system/node" / ("node" + std::to_string(id)) / "cpulist");
        std::string text;
        if (!std::getline(file, text)) continue;
        NumaNode node{id, parse_cores(text)};
        std::erase_if(node.cores, [](int core) { return !may_use(core); });
        if (!node.cores.empty()) nodes.push_back(std::move(node));
    }
    return nodes;
}

std::vector<std::size_t> spread_threads(std::span<const NumaNode> nodes, int threads) {
    std::vector<std::size_t> node_of_core;  // cores in the order of their nodes
    for (std::size_t i = 0; i < nodes.size(); ++i)
        node_of_core.insert(node_of_core.end(), nodes[i].cores.size(), i);
    std::vector<std::size_t> result;
    for (int t = 0; t < threads && !node_of_core.empty(); ++t)
        result.push_back(node_of_core[static_cast<std::size_t>(t) * node_of_core.size() /
                                      static_cast<std::size_t>(threads)]);
    return result;
}

bool bind_thread(std::span<const int> cores) {
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int core : cores)
        if (core < CPU_SETSIZE) CPU_SET(core, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
#else
    return cores.empty();
#endif
}

bool interleave_memory(std::span<const NumaNode> nodes) {
#if defined(__linux__) && defined(SYS_set_mempolicy)
    constexpr int kInterleave = 3;  // MPOL_INTERLEAVE
    static_assert(kMostNodes <= 64);
    unsigned long mask = 0;
    for (const NumaNode& node : nodes) mask |= 1ul << node.id;
    return mask && ::syscall(SYS_set_mempolicy, kInterleave, &mask, sizeof mask * 8 + 1) == 0;
#else
    return nodes.empty();
#endif
}

}  // namespace cachalot
