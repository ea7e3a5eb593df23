// Threads, where the system may refuse to create more: `ulimit -u`, the limit of a container or of a service.
#pragma once

#include <functional>
#include <string_view>
#include <thread>
#include <vector>

namespace cachalot {

inline constexpr std::string_view kNoMoreThreads =
    "no thread can be created; the limit of processes (ulimit -u, a container's) may be reached";

// A thread that does `work`. Throws Error "cannot start a thread for {purpose}: ..." if there can be none.
std::thread start_thread(std::string_view purpose, std::function<void()> work);

// Appends threads that run work(0) to work(count - 1), until one cannot be created. Returns how many could
// not: those that run are left to the caller, who does with fewer or fails.
int start_threads(std::vector<std::thread>& threads, int count, const std::function<void(int)>& work);

// Lowers the priority of the calling thread. Beside another thread that wants a whole processor it gets a
// tenth of that processor with `nicer` = 10, and a hundredth with 19. Does nothing on systems without
// priorities of threads, that is, outside Linux.
void lower_thread_priority(int nicer);

}  // namespace cachalot
