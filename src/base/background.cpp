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
        fail("cannot start a thread for {}: {}: {}", purpose, error.code().message(), kNoMoreThreads);
    }
}

int start_threads(std::vector<std::thread>& threads, int count, const std::function<void(int)>& work) {
    threads.reserve(threads.size() + static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
        try {
            threads.emplace_back([work, i] { work(i); });
        } catch (const std::system_error&) {
            return count - i;
        }
    }
    return 0;
}

void lower_thread_priority(int nicer) {
#ifdef __linux__
    constexpr int kNicest = 19;
    const auto thread = static_cast<id_t>(gettid());
    setpriority(PRIO_PROCESS, thread, std::min(kNicest, getpriority(PRIO_PROCESS, thread) + nicer));
#else
    (void)nicer;
#endif
}

}  // namespace cachalot
