// Who asked for what, when: one JSON object per line and request.
//
//     {"time":"2026-11-02T08:15:30.123Z","key":"laptop","method":"POST","route":"/v1/messages","status":200,
//      "complete":true,"seconds":1.24,"model":"nano","prompt_tokens":12,"cached_tokens":0,"completion_tokens":40}
//
// Whatever a client sent is escaped by JSON, so it cannot forge a line. Texts appear only if asked for.
#pragma once

#include <mutex>
#include <string>

#include "server/http_server.h"

namespace cachalot::server {

// The line without its end. Texts: as "request" and "response", invalid UTF-8 replaced.
std::string audit_line(const Served& served, bool texts);

class AuditLog {
  public:
    // Appends to the file; creates it readable by its owner only. Throws Error if it cannot be opened.
    AuditLog(const std::string& path, bool texts);
    ~AuditLog();
    AuditLog(const AuditLog&) = delete;

    // Thread-safe; every line is written whole, at once. Throws Error if it cannot be written.
    void write(const Served& served);

  private:
    std::string path_;
    bool texts_;
    int file_;
    std::mutex mutex_;
};

}  // namespace cachalot::server
