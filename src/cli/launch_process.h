// Programs that `cachalot launch` starts, and the signals that reach it meanwhile.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cachalot::cli {

// While it lives, the signals that would end the program, and SIGCHLD, come out of wait() instead. Programs
// started meanwhile get the mask as it was before.
class WaitedSignals {
  public:
    WaitedSignals();
    ~WaitedSignals();
    WaitedSignals(const WaitedSignals&) = delete;
    WaitedSignals& operator=(const WaitedSignals&) = delete;

    int wait(std::chrono::milliseconds limit) const;  // 0: none came
    const sigset_t& before() const { return before_; }

  private:
    sigset_t set_, before_;
};

// Whether execvp() finds a program of this name: on PATH if it has no slash.
bool program_exists(const std::string& name);

class Process {
  public:
    struct Options {
        std::vector<std::string>
            command;  // the program, looked for on PATH if it has no slash, and its arguments
        std::vector<std::pair<std::string, std::string>> environment = {};  // besides ours
        // Empty: shares our terminal. Else the program gets none, so that Ctrl-C is not meant for it, what it
        // prints goes to this file, and it is told to stop if we die.
        std::string log = {};
    };

    // Throws Error if the program cannot be started; `missing` is the message for one that is not there.
    Process(const Options& options, const WaitedSignals& signals, const std::string& missing);
    ~Process() { stop(std::chrono::seconds(0)); }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    // The exit status once the program has ended, 128 + N after signal N.
    std::optional<int> ended();
    void signal(int number);
    void stop(std::chrono::milliseconds grace);  // SIGTERM, after the grace SIGKILL

  private:
    pid_t id_ = -1;
    std::optional<int> status_;
};

}  // namespace cachalot::cli
