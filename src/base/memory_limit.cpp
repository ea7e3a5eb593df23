#include "base/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace cachalot {
namespace {

namespace fs = std::filesystem;

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end == text.data()) return std::nullopt;
    return value;
}

// The first line of a file; nothing for "max", which is how version 2 says that there is no limit.
std::optional<std::uint64_t> number_in(const fs::path& path) {
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line)) return std::nullopt;
    return number(line);
}

// The number that follows `name` in a file of names and numbers.
std::optional<std::uint64_t> number_of(const fs::path& path, std::string_view name) {
    std::ifstream file(path);
    for (std::string word, value; file >> word >> value;
         file.ignore(std::numeric_limits<std::streamsize>::max(), '\n'))
        if (word == name) return number(value);
    return std::nullopt;
}

// A folder of a control group: memory.max in version 2, memory.limit_in_bytes in version 1.
void apply(const fs::path& group, bool second, MemoryLimit& limit) {
    const auto most = number_in(group / (second ? "memory.max" : "memory.limit_in_bytes"));
    if (!most || *most >= limit.total) return;  // version 1 says "no limit" with a number beyond any memory
    const auto used = number_in(group / (second ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
    const auto files =
        number_of(group / "memory.stat", second ? "inactive_file" : "total_inactive_file").value_or(0) +
        number_of(group / "memory.stat", second ? "active_file" : "total_active_file").value_or(0);
    const auto taken = std::min(*most, used - std::min(used, files));
    limit = {*most, std::min(limit.available, *most - taken), true};
}

}  // namespace

MemoryLimit memory_limit() { return memory_limit("/"); }

MemoryLimit memory_limit(const fs::path& root) {
    MemoryLimit limit;
    const auto meminfo = root / "proc/meminfo";
    limit.total = number_of(meminfo, "MemTotal:").value_or(0) * 1024;
    if (limit.total == 0)
        limit.total = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                      static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    limit.available =
        std::min(limit.total, number_of(meminfo, "MemAvailable:").value_or(limit.total / 1024) * 1024);

    // Lines "0::/path" for version 2, "4:memory:/path" for version 1. A limit holds for all groups below it.
    // In a container the path may be the one outside; its own group is the root then.
    std::ifstream groups(root / "proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        const auto colon = line.find(':'),
                   path_colon = colon == line.npos ? line.npos : line.find(':', colon + 1);
        if (path_colon == line.npos) continue;
        std::string controllers = ",";
        controllers.append(line, colon + 1, path_colon - colon - 1).append(",");
        const bool second = controllers == ",,";
        if (!second && controllers.find(",memory,") == controllers.npos) continue;
        const fs::path mount = root / (second ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
        for (fs::path path = fs::path(line.substr(path_colon + 1)).relative_path().lexically_normal();;
             path = path.parent_path()) {
            apply(mount / path, second, limit);
            if (path.empty() || path == path.parent_path()) break;
        }
    }
    return limit;
}

}  // namespace cachalot
