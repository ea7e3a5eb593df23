// Where the log of a command goes.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "file/log_writer.h"

namespace cachalot::cli {

struct LogOptions {
    std::string level = "warn", file;
    bool json = false;

    // --log-level, --log-file and --log-json. `level` is the default.
    void add_to(CLI::App& app);

    // Without a file all goes to standard error. With one the file has it, and people still see on standard
    // error what they see without these options. Throws Error if the file cannot be written.
    std::shared_ptr<LogWriter> open() const;
};

}  // namespace cachalot::cli
