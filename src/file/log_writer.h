// Where a program's log goes: lines on standard error, in a file, or both, as text or as JSON.
//
//     cachalot: a prefix could not be written: /var/kv/pages-000001: cannot write: No space left (bytes=4096)
//     2026-11-02T08:15:30.123Z warn a prefix could not be written: /var/kv/pages-000001: ... (bytes=4096)
//     {"time":"2026-11-02T08:15:30.123Z","level":"warn","message":"a prefix ...","error":"...","bytes":4096}
//
// The first is what people see, the second the same in a file. A line is one line whatever is in its fields:
// control characters are shown. It is written whole or not at all and never waited for (line_file.h); one
// that is lost is counted.
//
// Of messages that are written often (Log::often) one in `pause` is written, the next one after it with the
// number of those between, and what is left of such numbers when the log ends.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/log.h"
#include "file/line_file.h"

namespace cachalot {

enum class LogFormat { people, text, json, plain };  // the three above, and the first without "cachalot: "

struct LogOutput {
    LogLevel level = LogLevel::info;
    LogFormat format = LogFormat::text;
    std::string file;                                      // empty: standard error, unless there is ...
    std::function<void(const std::string& line)> to = {};  // who gets the lines instead, one at a time
};

class LogWriter final : public LogSink {
  public:
    static constexpr std::size_t kLongestText = 4096;  // bytes of a message or a field; the rest is cut off

    // Throws Error if a file cannot be opened. `warn`: told once of each file when its first line is lost.
    explicit LogWriter(const std::vector<LogOutput>& outputs,
                       std::function<void(const std::string&)> warn = {},
                       std::chrono::milliseconds pause = std::chrono::seconds(10));
    ~LogWriter() override;
    LogWriter(const LogWriter&) = delete;
    LogWriter& operator=(const LogWriter&) = delete;

    bool wants(LogLevel level) const noexcept override { return level >= least_ && level < LogLevel::off; }
    void write(const LogLine& line) override;

    std::int64_t lost() const { return lost_; }  // lines, ever; of all outputs

  private:
    class Output;
    struct Repeated {
        LogLevel level;
        std::chrono::steady_clock::time_point last;
        std::int64_t count = 0;  // since then, not written
    };
    void put(const LogLine& line, std::int64_t repeated);
    void tell_repeated();  // the counts that were not written yet, and forgets them

    const std::function<void(const std::string&)> warn_;
    const std::chrono::milliseconds pause_;
    LogLevel least_ = LogLevel::off;
    std::mutex mutex_;  // of the rest
    std::vector<std::unique_ptr<Output>> outputs_;
    std::map<std::string, Repeated, std::less<>> repeated_;  // by message
    std::atomic<std::int64_t> lost_ = 0;
};

}  // namespace cachalot
