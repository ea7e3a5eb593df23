// A log that tests read: "warn: message name=value error=cause", one string for each line.
#pragma once

#include <fmt/format.h>

#include <mutex>
#include <string>
#include <vector>

#include "base/log.h"

namespace cachalot::test {

class RecordedLog : public LogSink {
  public:
    explicit RecordedLog(LogLevel level = LogLevel::trace) : level_(level) {}
    bool wants(LogLevel level) const noexcept override { return level >= level_; }
    void write(const LogLine& line) override {
        std::string text = fmt::format("{}: {}", name(line.level), line.message);
        for (const auto& field : line.fields)
            std::visit([&](const auto& value) { text += fmt::format(" {}={}", field.name, value); },
                       field.value);
        std::lock_guard lock(mutex_);
        lines_.push_back(text);
    }
    std::vector<std::string> lines() const {
        std::lock_guard lock(mutex_);
        return lines_;
    }
    std::string text() const {
        std::string all;
        for (const auto& line : lines()) all += line + "\n";
        return all;
    }

  private:
    const LogLevel level_;
    mutable std::mutex mutex_;
    std::vector<std::string> lines_;
};

}  // namespace cachalot::test
