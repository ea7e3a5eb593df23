// How everything that the program prints reaches the user: results on stdout, everything else on stderr. What
// comes from models, files and requests may hold control characters; on the way to a person they become
// visible (text/visible_text.h).
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/human_bytes.h"

namespace cachalot::cli {

// All of these print at once, and throw Error if stdout cannot be written.
void print_text(std::string_view text);         // a text as the result: to a file or pipe exactly these bytes
void print_lines(std::string_view lines);       // for people: tables, help, reports; always visible
void print_line(std::string_view line);         // a line for people, or JSON, which stays the same JSON
void print_control(std::string_view sequence);  // our own escape sequences

// A line, or several, on stderr, visible.
void say_line(std::string_view line);
template <class... Arguments>
void say(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    say_line(fmt::format(format, std::forward<Arguments>(arguments)...));
}

// A line on stderr that shows how far long work has come: a bar on a terminal, a plain line every few seconds
// elsewhere. Draws nothing for work that ends within a second.
class Progress {
  public:
    // what: "prompt", "converting"; unit: "tokens"; bytes: show MB
    Progress(std::string what, std::string unit, bool bytes = false);
    ~Progress() { clear(); }
    void update(std::uint64_t done, std::uint64_t total);
    void clear();

  private:
    using Clock = std::chrono::steady_clock;
    std::string what_, unit_;
    bool bytes_, terminal_, drawn_ = false;
    Clock::time_point start_ = Clock::now(), last_ = start_;
};

}  // namespace cachalot::cli
