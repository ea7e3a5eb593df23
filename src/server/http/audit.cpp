#include "server/http/audit.h"

#include <chrono>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <system_error>
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
        warn_(
            fmt::format("{}: a line cannot be written: {}. "
                        "Requests are answered all the same; lines that are lost are counted",
                        path_, std::generic_category().message(error)));
}

}  // namespace cachalot::server
