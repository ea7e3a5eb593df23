// Threads where the system may refuse to create more: `ulimit -u`, the limit of a container or of a service.
#pragma once

#include <system_error>
#include <thread>
#include <vector>

namespace cachalot {

// Appends threads that run body(0) to body(count - 1), until one cannot be created. Returns how many could not: those
// that run are left to the caller, who must be able to do with fewer.
template <class Body>
int start_threads(std::vector<std::thread>& threads, int count, const Body& body) {
    const int wanted = static_cast<int>(threads.size()) + count;
    threads.reserve(static_cast<std::size_t>(wanted));
    try {
        for (int i = 0; i < count; ++i) threads.emplace_back([body, i] { body(i); });
    } catch (const std::system_error&) {
    }
    return wanted - static_cast<int>(threads.size());
}

}  // namespace cachalot
