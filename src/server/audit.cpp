#include "server/audit.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

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

std::string audit_line(const Served& served, bool texts) {
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
    if (texts) {
        line["request"] = served.request_text;
        line["response"] = served.response_text;
    }
    return line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

AuditLog::AuditLog(const std::string& path, bool texts) : path_(path), texts_(texts) {
    file_ = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file_ < 0) fail("{}: cannot be opened: {}", path, std::strerror(errno));
}

AuditLog::~AuditLog() { close(file_); }

void AuditLog::write(const Served& served) {
    std::string line = audit_line(served, texts_) + "\n";
    std::lock_guard lock(mutex_);
    for (std::size_t sent = 0; sent < line.size();) {
        auto n = ::write(file_, line.data() + sent, line.size() - sent);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) fail("{}: cannot be written: {}", path_, std::strerror(errno));
        sent += static_cast<std::size_t>(n);
    }
}

}  // namespace cachalot::server
