// Messages of a chat, made of the lines that are typed or piped in.
//
// A line is a message, unless it ends in \ (then the next one belongs to it) or begins with """ (then
// everything up to the next """ at the end of a line does). """ may also stand after a command's name:
// /system """. Interrupting (Ctrl-C) drops the lines that have been read for a message.
#pragma once

#include <functional>
#include <string>

namespace cachalot::cli {

enum class Typed { something, interrupted, end };

// Reads one line, without its end, after showing a prompt. A pasted text of several lines is one of them.
using LineSource = std::function<Typed(const char* prompt, std::string& line)>;

class MessageReader {
  public:
    explicit MessageReader(LineSource source) : source_(std::move(source)) {}

    // `message` is empty unless something was typed. At the end of the input an unfinished message counts.
    Typed read(std::string& message);

  private:
    Typed read_line(const char* prompt, std::string& line);
    Typed read_block(std::string& message, std::size_t begin);

    LineSource source_;
};

}  // namespace cachalot::cli
