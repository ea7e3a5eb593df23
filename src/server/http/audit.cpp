#include "server/http/audit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace cachalot::server {
namespace {

std::string utc_now() {
    auto now = std::chrono::system_clock::now();
    std::time_t seconds = std::chrono::system_clock::to_time_t(now);
    auto milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
    std::tm t{};
    gmtime_r(&seconds, &t);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", t.tm_year + 1900, t.tm_mon + 1,
                       t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, milliseconds);
}

}  // namespace

std::string audit_line(const Served& served, bool texts, std::int64_t lost) {
    nlohmann::ordered_json line = {{"time", utc_now()},
                                   {"id", served.id},
                                   {"key", served.key_name},
                                   {"method", served.method},
                                   {"route", served.route.empty() ? served.path : served.route},
                                   {"status", served.status},
                                   {"complete", served.complete},
                                   {"seconds", std::round(served.seconds * 1e6) / 1e6}};
    const Annotation& a = served.annotation;
    if (!a.model.empty()) line["model"] = a.model;
    if (a.prompt_tokens || a.completion_tokens) {
        line["prompt_tokens"] = a.prompt_tokens;
        line["cached_tokens"] = a.cached_tokens;
        line["completion_tokens"] = a.completion_tokens;
    }
    if (lost > 0) line["lost"] = lost;
    if (texts) {
        line["request"] = served.request_text;
        line["response"] = served.response_text;
    }
    return line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

LineFile::LineFile(const std::string& path)
    : file_(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600)) {
    if (file_ < 0) fail("{}: cannot be opened: {}", path, std::strerror(errno));
    struct stat status {};
    if (fstat(file_, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) return;
    const int reader = open(path.c_str(), O_RDONLY | O_CLOEXEC);  // may be forbidden
    char last = '\n';
    torn_ = reader >= 0 && pread(reader, &last, 1, status.st_size - 1) == 1 && last != '\n';
    if (reader >= 0) close(reader);
}

LineFile::~LineFile() { close(file_); }

int LineFile::append(std::string line) {
    if (torn_) line.insert(line.begin(), '\n');
    line += '\n';
    std::size_t written = 0;
    while (written < line.size()) {  // once, unless there is room for a part only
        const ssize_t n = ::write(file_, line.data() + written, line.size() - written);
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
    const off_t end = lseek(file_, 0, SEEK_CUR);
    struct stat status {};
    const bool last = end >= static_cast<off_t>(bytes) && fstat(file_, &status) == 0 && status.st_size == end;
    torn_ = torn_ || !last || ftruncate(file_, end - static_cast<off_t>(bytes)) != 0;
}

AuditLog::AuditLog(const std::string& path, bool texts, std::function<void(const std::string&)> warn)
    : path_(path), texts_(texts), warn_(std::move(warn)), file_(path) {}

void AuditLog::write(const Served& served) {
    std::lock_guard lock(mutex_);
    const int error = file_.append(audit_line(served, texts_, untold_));
    if (error == 0) {
        untold_ = 0;
        return;
    }
    ++untold_;
    if (lost_++ == 0 && warn_)
        warn_(fmt::format(
            "{}: a line cannot be written: {}. Requests are answered all the same; lines that are lost "
            "are counted",
            path_, std::strerror(error)));
}

}  // namespace cachalot::server
