// How much memory this process may use: the machine's, or less where a container or a service manager limits
// it.
#pragma once

#include <cstdint>
#include <filesystem>

namespace cachalot {

struct MemoryLimit {
    std::uint64_t total = 0;  // bytes
    std::uint64_t available =
        0;                  // of them, what others do not use; what only caches files counts as available
    bool of_group = false;  // it is a control group that limits them, not the machine
};

MemoryLimit memory_limit();

// The same of a file system that lies below `root`, for tests.
MemoryLimit memory_limit(const std::filesystem::path& root);

}  // namespace cachalot
