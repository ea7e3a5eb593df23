// A thread that the system may refuse.
#pragma once

#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"

namespace cachalot {

// Throws Error if there can be no more threads.
template <class Work>
std::thread start_thread(Work&& work) {
    try {
        return std::thread(std::forward<Work>(work));
    } catch (const std::system_error& e) {
        fail(
            "cannot start a thread: {}; a limit of processes (ulimit -u, that of a container) may be too low",
            e.code().message());
    }
}

}  // namespace cachalot
