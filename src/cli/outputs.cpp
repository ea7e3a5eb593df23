#include "cli/outputs.h"

#include <csignal>
#include <filesystem>

#include "base/error.h"
#include "file/output_target.h"
#include "file/temporary_names.h"

namespace cachalot::cli {

namespace fs = std::filesystem;

void check_output_file(const std::string& path, const std::vector<std::string>& inputs) {
    if (path.empty()) return;
    const OutputTarget target = OutputTarget::of(path);
    std::error_code ignored;
    for (const auto& input : inputs)
        if (!target.is_stream && !input.empty() && fs::equivalent(target.path, input, ignored))
            fail("{}: is read by this command, and would be replaced; name another file to write", path);
}

void check_new_file(const std::string& path, bool force, const std::vector<std::string>& inputs) {
    check_output_file(path, inputs);
    if (!force && would_replace(path)) fail("{} exists; --force replaces it", path);
}

void check_new_folder(const std::string& path) {
    std::error_code error;
    if (fs::is_directory(path, error)) {
        if (fs::is_empty(path, error) && !error) return;
        fail("{}: is a folder that has something in it; name a new one", path);
    }
    if (fs::exists(fs::symlink_status(path, error)))
        fail("{}: exists and is no folder; name a new one", path);
}

void remove_unfinished_files_on_signals() {
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction action = {};
        if (sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
        action = {};
        action.sa_flags = SA_RESETHAND;
        action.sa_handler = [](int signal) {
            remove_temporary_files();
            ::raise(signal);  // as soon as this returns, with what the system does by default
        };
        sigaction(number, &action, nullptr);
    }
}

}  // namespace cachalot::cli
