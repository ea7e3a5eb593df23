// Shows an answer on stdout while it is being written, and the progress of its prompt on stderr.
#pragma once

#include <string>

#include "cli/command.h"
#include "engine/chat.h"

namespace cachalot::cli {

class AnswerPrinter {
  public:
    // On a terminal reasoning is shown, in grey. Elsewhere only if `show_reasoning` says so: the answer is
    // the result.
    explicit AnswerPrinter(bool show_reasoning);

    bool on_prefill(std::int64_t done, std::int64_t total);
    bool on_event(const CompletionEvent& event);

    // The end of the answer: the terminal's colour is put back and the last line ended.
    void finish();

  private:
    Progress progress_{"reading the prompt", "tokens"};
    bool terminal_, show_reasoning_, in_reasoning_ = false;
    char last_ = '\n';
};

}  // namespace cachalot::cli
