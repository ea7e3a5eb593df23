#include "file/log_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "text/visible_text.h"

namespace cachalot {
namespace {

constexpr std::size_t kMostMessages = 1000;  // that are counted; messages are literals, so there are fewer

const char* pattern(LogFormat format) {
    switch (format) {
        case LogFormat::people: return "cachalot: %v";
        case LogFormat::plain: return "%v";
        case LogFormat::text: return "%Y-%m-%dT%H:%M:%S.%eZ %v";
        default: return R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ",%v})";
    }
}

std::string_view cut(std::string_view text) { return text.substr(0, LogWriter::kLongestText); }

std::string as_text(const LogField::Value& value) {
    struct Visitor {
        std::string operator()(std::string_view text) const { return visible_line(cut(text)); }
        std::string operator()(bool truth) const { return truth ? "true" : "false"; }
        std::string operator()(std::int64_t number) const { return fmt::format("{}", number); }
        std::string operator()(double number) const { return fmt::format("{:.6g}", number); }
    };
    return std::visit(Visitor(), value);
}

// message: cause (name=value, name=value)
std::string text_of(LogFormat format, const LogLine& line, std::span<const LogField> more) {
    std::string text, others;
    if (format == LogFormat::text) text = fmt::format("{} ", name(line.level));
    if (format != LogFormat::text && line.level < LogLevel::info)
        text = fmt::format("{}: ", name(line.level));
    text += visible_line(cut(line.message));
    for (const auto fields : {line.fields, more})
        for (const LogField& field : fields)
            if (field.name == "error")
                text += ": " + as_text(field.value);
            else
                others +=
                    fmt::format("{}{}={}", others.empty() ? "" : ", ", field.name, as_text(field.value));
    if (!others.empty()) text += fmt::format(" ({})", others);
    return text;
}

// The members of an object, without its braces.
std::string json_of(const LogLine& line, std::span<const LogField> more) {
    nlohmann::ordered_json json = {{"level", name(line.level)}, {"message", cut(line.message)}};
    for (const auto fields : {line.fields, more})
        for (const LogField& field : fields)
            std::visit(
                [&](const auto& value) {
                    auto& member = json[std::string(field.name)];
                    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string_view>)
                        member = cut(value);
                    else
                        member = value;
                },
                field.value);
    const std::string text = json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    return text.substr(1, text.size() - 2);
}

LineFile opened(const std::string& path) {
    return path.empty() ? LineFile(UniqueFd(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3))) : LineFile(path);
}

// Takes a line; returns 0, or why it is lost, as in errno.
std::function<int(const std::string& line)> taker(const LogOutput& output) {
    if (output.to) return [to = output.to](const std::string& line) { return to(line), 0; };
    return [file = std::make_shared<LineFile>(opened(output.file))](const std::string& line) {
        return file->append(line);
    };
}

}  // namespace

class LogWriter::Output {
  public:
    explicit Output(const LogOutput& output)
        : options_(output), sink_(std::make_shared<Sink>(taker(output))), logger_("", sink_) {
        logger_.set_formatter(std::make_unique<spdlog::pattern_formatter>(
            pattern(output.format), spdlog::pattern_time_type::utc, ""));
        logger_.set_level(spdlog::level::trace);
        logger_.set_error_handler([](const std::string&) {});  // it would print
    }

    const LogOutput& options() const { return options_; }

    // 0, or why the line is lost, as in errno.
    int put(const LogLine& line, std::vector<LogField> more) {
        if (line.level < options_.level) return 0;
        if (untold_ > 0) more.emplace_back("lost", untold_);
        sink_->error = ENOMEM;  // unless the sink is reached
        logger_.log(
            spdlog::level::info, "{}",
            options_.format == LogFormat::json ? json_of(line, more) : text_of(options_.format, line, more));
        untold_ = sink_->error == 0 ? 0 : untold_ + 1;
        return sink_->error;
    }

    bool warned = false;

  private:
    // Passes the formatted lines on, and remembers how that went.
    class Sink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
      public:
        explicit Sink(std::function<int(const std::string&)> take) : take_(std::move(take)) {}
        int error = 0;  // of the last line

      protected:
        void sink_it_(const spdlog::details::log_msg& message) override {
            spdlog::memory_buf_t line;
            formatter_->format(message, line);
            error = take_(fmt::to_string(line));
        }
        void flush_() override {}

      private:
        std::function<int(const std::string&)> take_;
    };

    const LogOutput options_;
    std::shared_ptr<Sink> sink_;
    spdlog::logger logger_;
    std::int64_t untold_ = 0;  // lost lines that no line tells of yet
};

LogWriter::LogWriter(const std::vector<LogOutput>& outputs, std::function<void(const std::string&)> warn,
                     std::chrono::milliseconds pause)
    : warn_(std::move(warn)), pause_(pause) {
    for (const auto& output : outputs) {
        if (output.level == LogLevel::off) continue;
        outputs_.push_back(std::make_unique<Output>(output));
        least_ = std::min(least_, output.level);
    }
}

LogWriter::~LogWriter() {
    try {
        tell_repeated();
    } catch (...) {  // out of memory
    }
}

void LogWriter::tell_repeated() {
    for (const auto& [message, repeated] : repeated_)
        if (repeated.count > 0) put({repeated.level, message, {}, false}, repeated.count);
    repeated_.clear();
}

void LogWriter::write(const LogLine& line) {
    std::lock_guard lock(mutex_);
    std::int64_t times = 0;
    if (line.often) {
        const auto now = std::chrono::steady_clock::now();
        auto entry = repeated_.find(line.message);
        const bool is_new = entry == repeated_.end();
        if (is_new) {
            if (repeated_.size() >= kMostMessages) tell_repeated();
            entry = repeated_.try_emplace(std::string(line.message), Repeated{line.level, now}).first;
        }
        auto& repeated = entry->second;
        if (!is_new && now - repeated.last < pause_) {
            ++repeated.count;
            return;
        }
        repeated.last = now;
        times = std::exchange(repeated.count, 0);
    }
    put(line, times);
}

void LogWriter::put(const LogLine& line, std::int64_t repeated) {
    std::vector<LogField> more;
    if (repeated > 0) more.emplace_back("repeated", repeated);
    for (const auto& output : outputs_) {
        const int error = output->put(line, more);
        if (error == 0) continue;
        ++lost_;
        const std::string& file = output->options().file;
        if (std::exchange(output->warned, true) || file.empty() || !warn_) continue;
        warn_(
            fmt::format("{}: a line of the log cannot be written: {}. "
                        "Nothing else is affected; lines that are lost are counted",
                        file, std::generic_category().message(error)));
    }
}

}  // namespace cachalot
