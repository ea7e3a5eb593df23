#include "cli/chat_history.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "base/error.h"
#include "base/unique_fd.h"
#include "file/text_file.h"

namespace cachalot::cli {
namespace {

namespace fs = std::filesystem;

std::string as_line(const std::string& entry) {
    std::string line;
    for (char c : entry) {
        if (c == '\\' || c == '\n') line += '\\';
        line += c == '\n' ? 'n' : c;
    }
    return line + '\n';
}

std::string as_entry(const std::string& line) {
    std::string entry;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const bool escaped = line[i] == '\\' && i + 1 < line.size();
        if (escaped) ++i;
        entry += escaped && line[i] == 'n' ? '\n' : line[i];
    }
    return entry;
}

// Readable for the owner only.
void write_lines(const fs::path& file, int mode, const std::string& lines) {
    const UniqueFd opened(open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | mode, 0600));
    const auto size = static_cast<ssize_t>(lines.size());
    if (!opened || write(opened.get(), lines.data(), lines.size()) != size)
        fail("{}: cannot be written: {}", file.string(), std::strerror(errno));
}

}  // namespace

ChatHistory::ChatHistory(fs::path file) : file_(std::move(file)) {
    std::error_code error;
    if (file_.empty() || !fs::is_regular_file(file_, error)) return;
    std::istringstream lines(read_text_file(file_));
    std::size_t in_file = 0;
    for (std::string line; std::getline(lines, line); ++in_file)
        if (!line.empty() && line.size() <= kLongestEntry) earlier_.push_back(as_entry(line));
    if (in_file <= kMostEntries) return;
    if (earlier_.size() > kMostEntries) earlier_.erase(earlier_.begin(), earlier_.end() - kMostEntries);
    std::string newest;
    for (const auto& entry : earlier_) newest += as_line(entry);
    const fs::path cut = file_.string() + fmt::format(".{}", getpid());
    write_lines(cut, O_TRUNC, newest);
    fs::rename(cut, file_, error);
    if (error) fail("{}: cannot be replaced: {}", file_.string(), error.message());
}

void ChatHistory::add(const std::string& entry) const {
    const std::string line = as_line(entry);
    if (file_.empty() || entry.empty() || line.size() > kLongestEntry) return;
    std::error_code error;
    if (fs::create_directories(file_.parent_path(), error))
        fs::permissions(file_.parent_path(), fs::perms::owner_all, error);
    write_lines(file_, O_APPEND, line);
}

}  // namespace cachalot::cli
