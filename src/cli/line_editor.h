// Lines from the terminal, with editing, history and completion by libedit, or plainly from a pipe.
//
// The terminal is asked to mark what is pasted, so that a pasted text of several lines is one input and not
// as many questions. Input is UTF-8 whatever the locale says.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cli/chat_commands.h"
#include "cli/message_reader.h"

namespace cachalot::cli {

class LineEditor {
  public:
    // `complete` is what Tab does. Throws Error if the terminal cannot be set up.
    explicit LineEditor(std::function<Completions(const std::string&)> complete);
    ~LineEditor();
    LineEditor(const LineEditor&) = delete;
    LineEditor& operator=(const LineEditor&) = delete;

    bool terminal() const;  // people type, and see it

    // A line without its end. SIGINT interrupts if a handler for it is installed without SA_RESTART.
    Typed read(const char* prompt, std::string& line);

    void remember(const std::string& entry);  // for the arrow keys

  private:
    struct Terminal;
    std::unique_ptr<Terminal> terminal_;  // none: lines come from stdin
};

}  // namespace cachalot::cli
