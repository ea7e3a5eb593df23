#include "cli/output.h"

#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "text/visible_text.h"

namespace cachalot::cli {
namespace {

void write_out(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() || std::fflush(stdout) != 0)
        fail("cannot write to standard output");
}

}  // namespace

void print_text(std::string_view text) {
    static const bool terminal = isatty(STDOUT_FILENO);
    write_out(terminal ? visible_text(text) : std::string(text));
}

void print_lines(std::string_view lines) { write_out(visible_text(lines)); }
void print_line(std::string_view line) { write_out(visible_text(line) + "\n"); }
void print_control(std::string_view sequence) { write_out(sequence); }

void say_line(std::string_view line) {
    const std::string text = visible_text(line) + (line.ends_with('\n') ? "" : "\n");
    std::fwrite(text.data(), 1, text.size(), stderr);  // nobody could be told of a failure
}

Progress::Progress(std::string what, std::string unit, bool bytes)
    : what_(std::move(what)), unit_(std::move(unit)), bytes_(bytes), terminal_(isatty(STDERR_FILENO)) {}

void Progress::update(std::uint64_t done, std::uint64_t total) {
    auto now = Clock::now();
    double elapsed = std::chrono::duration<double>(now - start_).count();
    if (elapsed < 1 || now - last_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(5)))
        return;
    last_ = now;
    double share = total ? static_cast<double>(done) / static_cast<double>(total) : 0;
    double left = share > 0 ? elapsed / share - elapsed : 0;
    std::string counts = bytes_ ? fmt::format("{} of {}", human_bytes(done), human_bytes(total))
                                : fmt::format("{} of {} {}", done, total, unit_);
    std::string rate =
        bytes_ ? human_bytes(static_cast<std::uint64_t>(static_cast<double>(done) / elapsed)) + "/s"
               : fmt::format("{:.1f} {}/s", static_cast<double>(done) / elapsed, unit_);
    if (terminal_) {
        constexpr int kWidth = 24;
        int filled = static_cast<int>(share * kWidth);
        fmt::print(stderr, "\r\033[K{} [{}{}] {:3.0f} %  {}  {}  {:.0f} s left", what_,
                   std::string(static_cast<std::size_t>(filled), '='),
                   std::string(static_cast<std::size_t>(kWidth - filled), ' '), share * 100, counts, rate,
                   left);
        std::fflush(stderr);
        drawn_ = true;
    } else {
        fmt::print(stderr, "{}: {:.0f} %, {}, {}, {:.0f} s left\n", what_, share * 100, counts, rate, left);
    }
}

void Progress::clear() {
    if (drawn_) fmt::print(stderr, "\r\033[K");
    drawn_ = false;
}

}  // namespace cachalot::cli
