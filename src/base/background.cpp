#include "base/background.h"

#ifdef __linux__
#include <sys/resource.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <system_error>

#include "base/error.h"

namespace cachalot {

std::thread start_thread(std::string_view purpose, std::function<void()> work) {
    try {
        return std::thread(std::move(work));
    } catch (const std::system_error& error) {
        fail(
            "cannot start a thread for {}: {}. The limit of processes (ulimit -u, a container's) may be "
            "reached",
            purpose, error.code().message());
    }
}

bool start_threads(std::vector<std::thread>& threads, int count, std::string_view purpose,
                   const std::function<void()>& work) {
    for (int i = 0; i < count; ++i) {
        try {
            threads.push_back(start_thread(purpose, work));
        } catch (const Error&) {
            if (threads.empty()) throw;
            return false;
        }
    }
    return true;
}

// Against a thread of the usual priority this leaves a tenth of a processor that both want.
void lower_thread_priority() {
#ifdef __linux__
    constexpr int kNicer = 10, kNicest = 19;
    const auto thread = static_cast<id_t>(gettid());
    setpriority(PRIO_PROCESS, thread, std::min(kNicest, getpriority(PRIO_PROCESS, thread) + kNicer));
#endif
}

}  // namespace cachalot
