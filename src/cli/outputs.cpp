#include "cli/outputs.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>

#include "base/error.h"
#include "file/output_file.h"
#include "file/output_target.h"
#include "file/temporary_names.h"
#include "model/checkpoint_files.h"

namespace cachalot::cli {

namespace fs = std::filesystem;

namespace {

void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
    to.insert(to.end(), more.begin(), more.end());
}

// Also if neither of them exists yet.
bool same_file(const fs::path& a, const fs::path& b) {
    std::error_code error;
    if (fs::equivalent(a, b, error)) return true;
    const auto whole = fs::weakly_canonical(a, error);
    return !error && whole == fs::weakly_canonical(b, error) && !error;
}

// While one lives, the end of a pipe's reader is an error of writing like others.
class PipesMayBreak {
  public:
    PipesMayBreak() {
        struct sigaction ignore = {};
        ignore.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &ignore, &before_);
    }
    ~PipesMayBreak() { sigaction(SIGPIPE, &before_, nullptr); }
    PipesMayBreak(const PipesMayBreak&) = delete;

  private:
    struct sigaction before_ = {};
};

constexpr int kEndingSignals[] = {SIGINT, SIGTERM, SIGHUP};

// The first signal removes the files and ends the program. A second one may reach another thread meanwhile;
// there it does nothing, for it would end the program before the files are gone.
void end_without_files(int signal) {
    static std::atomic_flag ending = ATOMIC_FLAG_INIT;
    if (ending.test_and_set()) return;
    remove_temporary_files();
    ::signal(signal, SIG_DFL);
    ::raise(signal);  // as soon as this returns, with what the system does by default
}

}  // namespace

void CommandFiles::add(const CommandFiles& more) {
    append(models, more.models);
    append(inputs, more.inputs);
    append(outputs, more.outputs);
}

void CommandFiles::check() const {
    std::vector<fs::path> read, written;
    for (const auto& input : inputs)
        if (!input.empty()) read.emplace_back(input == "-" ? "/dev/stdin" : input);
    for (const auto& model : models)
        for (auto& file : checkpoint_files(model)) read.push_back(std::move(file));
    for (const auto& output : outputs) {
        if (output.empty()) continue;
        const OutputTarget target = OutputTarget::of(output);
        if (target.is_stream) continue;
        const auto is_target = [&](const fs::path& path) { return same_file(path, target.path); };
        if (std::any_of(read.begin(), read.end(), is_target))
            fail("{}: is read by this command, and would be replaced; name another file to write", output);
        if (std::any_of(written.begin(), written.end(), is_target))
            fail("{}: is to hold two outputs of this command; name another file for one of them", output);
        written.push_back(target.path);
    }
}

void check_new_file(const std::string& path, bool force) {
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

void save_or_keep(const std::string& output, const std::function<void(const std::string& path)>& save) {
    std::string problem;
    bool is_file = true;
    const PipesMayBreak guard;
    try {
        is_file = !OutputTarget::of(output).is_stream;
        return save(output);
    } catch (const Error& e) {
        problem = e.what();
    }
    std::error_code error;
    std::vector<fs::path> folders;
    if (is_file) folders.push_back(fs::path(output).parent_path());
    folders.push_back(fs::temp_directory_path(error));
    const auto name = fmt::format("{}.kept-{}", fs::path(output).filename().string(), ::getpid());
    for (const fs::path& folder : folders) {
        const std::string kept = (folder / name).string();
        try {
            save(kept);
        } catch (const Error&) {
            continue;
        }
        fail("{}. It is kept in {}", problem, kept);
    }
    fail("{}", problem);
}

void save_text_or_keep(const std::string& output, std::string_view text) {
    save_or_keep(output, [&](const std::string& path) {
        OutputFile file(path);
        file.write(std::as_bytes(std::span(text)));
        file.commit();
    });
}

void remove_unfinished_files_on_signals() {
    struct sigaction ours = {};
    ours.sa_handler = end_without_files;
    ours.sa_flags = SA_RESTART;
    for (const int number : kEndingSignals) sigaddset(&ours.sa_mask, number);
    for (const int number : kEndingSignals) {
        struct sigaction before = {};
        if (sigaction(number, nullptr, &before) != 0 || before.sa_handler == SIG_IGN) continue;
        sigaction(number, &ours, nullptr);
    }
}

}  // namespace cachalot::cli
