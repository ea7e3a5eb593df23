// What goes on inside, for whoever runs the program.
//
// The library prints nothing. Its parts are given a Log and tell it what they cannot tell anybody else: a
// prefix that could not be written to disk, a request that ended with an error. A Log that nobody has given a
// sink says nothing, so that tests and programs that do not care pay for a comparison only. There is no log
// of the process: who makes a part decides where its lines go, and two engines can have two logs.
//
// A line is a message, which is a literal, and fields. The field "error" is the cause, as an exception tells
// it; it may name files. What users say and the keys that they show never become fields.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace cachalot {

enum class LogLevel { trace, debug, info, warn, error, off };

const char* name(LogLevel level);
std::optional<LogLevel> log_level(std::string_view name);

// Text is only looked at while the line is written.
struct LogField {
    LogField(std::string_view field, std::string_view text) : name(field), value(text) {}
    LogField(std::string_view field, const char* text) : name(field), value(std::string_view(text)) {}
    LogField(std::string_view field, const std::string& text) : name(field), value(std::string_view(text)) {}
    LogField(std::string_view field, bool truth) : name(field), value(truth) {}
    LogField(std::string_view field, double number) : name(field), value(number) {}
    template <std::integral Integer>
    LogField(std::string_view field, Integer number)
        : name(field), value(static_cast<std::int64_t>(number)) {}

    std::string_view name;
    using Value = std::variant<std::int64_t, double, bool, std::string_view>;
    Value value;
};

struct LogLine {
    LogLevel level;
    std::string_view message;
    std::span<const LogField> fields;
    bool often;  // see Log::often
};

// Where lines go. Used by all threads at once.
class LogSink {
  public:
    virtual ~LogSink() = default;
    virtual bool wants(LogLevel level) const noexcept = 0;
    virtual void write(const LogLine& line) = 0;  // one that it wants
};

// A handle: copies go to the same sink. All of it may be called by any thread; nothing throws, and nothing
// waits for longer than it takes to hand a line to the system.
class Log {
  public:
    using Fields = std::initializer_list<LogField>;

    Log() = default;
    explicit Log(std::shared_ptr<LogSink> sink) : sink_(std::move(sink)) {}

    bool wants(LogLevel level) const noexcept { return sink_ && sink_->wants(level); }

    void write(LogLevel level, std::string_view message, Fields fields = {}) const noexcept {
        write(level, message, fields, false);
    }
    void debug(std::string_view message, Fields fields = {}) const noexcept {
        write(LogLevel::debug, message, fields);
    }
    void info(std::string_view message, Fields fields = {}) const noexcept {
        write(LogLevel::info, message, fields);
    }
    void warn(std::string_view message, Fields fields = {}) const noexcept {
        write(LogLevel::warn, message, fields);
    }
    void error(std::string_view message, Fields fields = {}) const noexcept {
        write(LogLevel::error, message, fields);
    }

    // For what may happen thousands of times a second: of lines with one message the sink writes one now and
    // then, with the number of those between ("repeated").
    void often(LogLevel level, std::string_view message, Fields fields = {}) const noexcept {
        write(level, message, fields, true);
    }

  private:
    void write(LogLevel level, std::string_view message, Fields fields, bool often) const noexcept;

    std::shared_ptr<LogSink> sink_;
};

// What an exception says of its cause; by default the one that is being handled.
std::string cause_of(const std::exception_ptr& error = std::current_exception());

}  // namespace cachalot
