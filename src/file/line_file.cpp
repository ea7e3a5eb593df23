#include "file/line_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <system_error>

#include "base/error.h"

namespace cachalot {

LineFile::LineFile(const std::string& path) : path_(path) { open(); }

LineFile::LineFile(UniqueFd opened) : file_(std::move(opened)) {
    if (!file_) fail("there is no file to write lines to");
}

void LineFile::open() {
    UniqueFd opened(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600));
    if (!opened) fail("{}: cannot be opened: {}", path_, std::generic_category().message(errno));
    file_ = std::move(opened);
    struct stat status {};
    regular_ = ::fstat(file_.get(), &status) == 0 && S_ISREG(status.st_mode);
    torn_ = false;
    if (!regular_ || status.st_size == 0) return;
    const UniqueFd reader(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));  // may be forbidden
    char last = '\n';
    torn_ = reader && ::pread(reader.get(), &last, 1, status.st_size - 1) == 1 && last != '\n';
}

// Opens what the name stands for now, if that is another file. If that fails, the old one is still there.
void LineFile::follow() {
    struct stat ours {
    }, named{};
    if (!regular_ || path_.empty() || ::fstat(file_.get(), &ours) != 0) return;
    if (::stat(path_.c_str(), &named) == 0 && named.st_dev == ours.st_dev && named.st_ino == ours.st_ino)
        return;
    try {
        open();
    } catch (const Error&) {  // the folder is gone, or may not be written to
    }
}

bool LineFile::would_wait() const {
    pollfd question = {file_.get(), POLLOUT, 0};
    return path_.empty() && ::poll(&question, 1, 0) == 0;
}

int LineFile::append(std::string line) {
    follow();
    if (torn_) line.insert(line.begin(), '\n');
    line += '\n';
    // A pipe that says that it would not wait has room for this much.
    const std::size_t piece = path_.empty() ? std::size_t{PIPE_BUF} : line.size();
    std::size_t written = 0;
    while (written < line.size()) {
        ssize_t n = -1;
        if (would_wait())
            errno = EAGAIN;
        else
            n = ::write(file_.get(), line.data() + written, std::min(piece, line.size() - written));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            const int error = n < 0 ? errno : ENOSPC;
            take_back(written);
            return error;
        }
        written += static_cast<std::size_t>(n);
    }
    torn_ = false;
    return 0;
}

// Unless somebody has written behind them, or the file cannot be shortened: then the next line ends them.
void LineFile::take_back(std::size_t bytes) {
    if (bytes == 0) return;
    const off_t end = ::lseek(file_.get(), 0, SEEK_CUR);
    struct stat status {};
    const bool last =
        end >= static_cast<off_t>(bytes) && ::fstat(file_.get(), &status) == 0 && status.st_size == end;
    torn_ = torn_ || !last || ::ftruncate(file_.get(), end - static_cast<off_t>(bytes)) != 0;
}

}  // namespace cachalot
