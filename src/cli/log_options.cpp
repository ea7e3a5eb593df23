#include "cli/log_options.h"

#include <algorithm>

#include "cli/option_value.h"
#include "cli/output.h"

namespace cachalot::cli {

void LogOptions::add_to(CLI::App& app) {
    app.add_option("--log-level", level, "least level that is logged. No level logs what users say, nor keys")
        ->check(one_of({"trace", "debug", "info", "warn", "error", "off"}))
        ->capture_default_str();
    app.add_option("--log-file", file,
                   "append the log to this file, too, which only its owner can read. A file that is renamed "
                   "or removed "
                   "is made anew. Standard error then shows no more than it does by default")
        ->type_name("FILE");
    app.add_flag("--log-json", json, "log one JSON object a line, in the file if there is one");
}

std::shared_ptr<LogWriter> LogOptions::open() const {
    const LogLevel wanted = *log_level(level);
    const auto format = json ? LogFormat::json : LogFormat::people;
    if (file.empty()) return std::make_shared<LogWriter>(std::vector<LogOutput>{{wanted, format, ""}});
    return std::make_shared<LogWriter>(
        std::vector<LogOutput>{{std::max(wanted, LogLevel::info), LogFormat::people, ""},
                               {wanted, json ? LogFormat::json : LogFormat::text, file}},
        [](const std::string& text) { say("cachalot: {}", text); });
}

}  // namespace cachalot::cli
