// Signals that end the program unless somebody waits for them.
#pragma once

#include <signal.h>

#include <initializer_list>

namespace cachalot::cli {

// Those of `numbers` that may be waited for. SIGHUP is not among them if it was ignored when the program was
// started: `nohup` has asked for that, and it stays ignored as long as nobody blocks it.
inline sigset_t waited_signals(std::initializer_list<int> numbers) {
    sigset_t set;
    sigemptyset(&set);
    for (int number : numbers) {
        struct sigaction now = {};
        if (number == SIGHUP && sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) continue;
        sigaddset(&set, number);
    }
    return set;
}

}  // namespace cachalot::cli
