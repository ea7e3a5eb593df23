// Who asked for what, when: one JSON object per line and request.
//
//     {"time":"2026-11-02T08:15:30.123Z","id":"req_...","key":"laptop","method":"POST",
//      "route":"/v1/messages","status":200,"complete":true,"seconds":1.24,"model":"nano","prompt_tokens":12,
//      "cached_tokens":0,"completion_tokens":40}
//
// Whatever a client sent is escaped by JSON, so it cannot forge a line. Texts appear only if asked for. A
// line that cannot be written stops nothing: it is counted, and the first one to be written again tells how
// many are missing ("lost":12).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "file/line_file.h"
#include "server/http/server.h"

namespace cachalot::server {

// The line without its end. Texts: as "request" and "response", invalid UTF-8 replaced. `lost`: lines that
// are missing before it.
std::string audit_line(const Served& served, bool texts, std::int64_t lost = 0);

class AuditLog {
  public:
    // `warn`: told once, when the first line is lost. Throws Error if the file cannot be opened.
    AuditLog(const std::string& path, bool texts, std::function<void(const std::string&)> warn = {});

    // Thread-safe.
    void write(const Served& served);
    std::int64_t lost() const { return lost_; }  // lines, ever

  private:
    const std::string path_;
    const bool texts_;
    const std::function<void(const std::string&)> warn_;
    std::mutex mutex_;
    LineFile file_;
    std::int64_t untold_ = 0;  // lost lines that no line tells of yet
    std::atomic<std::int64_t> lost_ = 0;
};

}  // namespace cachalot::server
