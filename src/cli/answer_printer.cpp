#include "cli/answer_printer.h"

#include <unistd.h>

namespace cachalot::cli {

AnswerPrinter::AnswerPrinter(bool show_reasoning)
    : terminal_(isatty(STDOUT_FILENO)), show_reasoning_(show_reasoning || terminal_) {}

bool AnswerPrinter::on_prefill(std::int64_t done, std::int64_t total) {
    progress_.update(static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total));
    if (done == total) progress_.clear();
    return true;
}

bool AnswerPrinter::on_event(const CompletionEvent& event) {
    bool reasoning = event.kind == CompletionEvent::Kind::reasoning;
    if (!reasoning && event.kind != CompletionEvent::Kind::content) return true;
    if (reasoning && !show_reasoning_) return true;
    if (reasoning != in_reasoning_) {
        if (terminal_) print_control(reasoning ? "\033[90m" : "\033[0m");
        if (!reasoning) print_text("\n\n");
        in_reasoning_ = reasoning;
    }
    print_text(event.text);
    if (!event.text.empty()) last_ = event.text.back();
    return true;
}

void AnswerPrinter::finish() {
    progress_.clear();
    if (in_reasoning_ && terminal_) print_control("\033[0m");
    if (last_ != '\n') print_text("\n");
    in_reasoning_ = false;
}

}  // namespace cachalot::cli
