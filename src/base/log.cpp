#include "base/log.h"

#include <array>

namespace cachalot {
namespace {

constexpr std::array<const char*, 6> kNames = {"trace", "debug", "info", "warn", "error", "off"};

}  // namespace

const char* name(LogLevel level) { return kNames[static_cast<std::size_t>(level)]; }

std::optional<LogLevel> log_level(std::string_view name) {
    for (std::size_t i = 0; i < kNames.size(); ++i)
        if (name == kNames[i]) return static_cast<LogLevel>(i);
    return std::nullopt;
}

void Log::write(LogLevel level, std::string_view message, Fields fields, bool often) const noexcept {
    if (!wants(level)) return;
    try {
        sink_->write({level, message, {fields.begin(), fields.size()}, often});
    } catch (...) {  // out of memory; there is nobody left to be told
    }
}

std::string cause_of(const std::exception_ptr& error) {
    try {
        if (error) std::rethrow_exception(error);
        return "unknown";
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "something that is no exception of ours";
    }
}

}  // namespace cachalot
