#include "cli/launch_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/unique_fd.h"
#include "cli/signals.h"

namespace cachalot::cli {
namespace {

// In the new process, of which nothing returns. What failed is told through `report`, which a started program
// closes.
[[noreturn]] void become(const Process::Options& o, std::vector<char*>& arguments, const sigset_t& mask,
                         pid_t parent, int report) {
    auto give_up = [report] {
        int code = errno;
        [[maybe_unused]] auto n = write(report, &code, sizeof code);
        _exit(127);
    };
    if (!o.log.empty()) {
        setsid();
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) _exit(127);
        int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int out = open(o.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) give_up();
    }
    for (const auto& [name, value] : o.environment) setenv(name.c_str(), value.c_str(), 1);
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    execvp(arguments.front(), arguments.data());
    give_up();
    _exit(127);
}

}  // namespace

WaitedSignals::WaitedSignals() {
    set_ = waited_signals({SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGCHLD});
    sigprocmask(SIG_BLOCK, &set_, &before_);
}

WaitedSignals::~WaitedSignals() {
    while (wait(std::chrono::milliseconds(0)) != 0) {
    }  // what is still pending was meant for the program that has ended
    sigprocmask(SIG_SETMASK, &before_, nullptr);
}

bool program_exists(const std::string& name) {
    auto runs = [](const std::string& path) {
        struct stat about = {};
        return stat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode) && access(path.c_str(), X_OK) == 0;
    };
    if (name.find('/') != std::string::npos) return runs(name);
    const char* path = std::getenv("PATH");
    std::istringstream folders(path ? path : "/bin:/usr/bin");
    for (std::string folder; std::getline(folders, folder, ':');)
        if (runs((folder.empty() ? "." : folder) + "/" + name)) return true;
    return false;
}

int WaitedSignals::wait(std::chrono::milliseconds limit) const {
    timespec time{static_cast<std::time_t>(limit.count() / 1000),
                  static_cast<long>(limit.count() % 1000) * 1'000'000};
    return std::max(0, sigtimedwait(&set_, nullptr, &time));
}

Process::Process(const Options& options, const WaitedSignals& signals, const std::string& missing) {
    std::vector<char*> arguments;
    for (const auto& argument : options.command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("no pipe: {}", std::strerror(errno));
    const UniqueFd told(ends[0]);
    UniqueFd report(ends[1]);
    const pid_t us = getpid();
    id_ = fork();
    const int fork_error = errno;
    if (id_ == 0) become(options, arguments, signals.before(), us, report.get());
    report.reset();
    int code = 0;
    ssize_t n;
    while ((n = read(told.get(), &code, sizeof code)) < 0 && errno == EINTR) {
    }
    if (id_ < 0) fail("no new process: {}", std::strerror(fork_error));
    if (n <= 0) return;
    waitpid(id_, nullptr, 0);
    if (code == ENOENT) fail("{}", missing);
    fail("{} cannot be started: {}", options.command.front(), std::strerror(code));
}

std::optional<int> Process::ended() {
    int status = 0;
    if (!status_ && waitpid(id_, &status, WNOHANG) == id_)
        status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return status_;
}

void Process::signal(int number) {
    if (!ended()) kill(id_, number);
}

void Process::stop(std::chrono::milliseconds grace) {
    const auto end = std::chrono::steady_clock::now() + grace;
    signal(SIGTERM);
    while (!ended()) {
        if (std::chrono::steady_clock::now() >= end) signal(SIGKILL);
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
}

}  // namespace cachalot::cli
