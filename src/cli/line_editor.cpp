#include "cli/line_editor.h"

#include <histedit.h>
#include <langinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <cstring>
#include <iostream>
#include <string_view>

#include "base/error.h"
#include "cli/output.h"

namespace cachalot::cli {
namespace {

constexpr const char *kMarkPastes = "\033[?2004h", *kDoNotMark = "\033[?2004l";
constexpr std::wstring_view kPasteEnd = L"\033[201~";

// libedit drops every character that the locale does not know, which in plain "C" is all but ASCII.
void use_utf8() {
    if (std::setlocale(LC_CTYPE, "") && std::string_view(nl_langinfo(CODESET)) == "UTF-8") return;
    for (const char* name : {"C.UTF-8", "C.utf8", "en_US.UTF-8"})
        if (std::setlocale(LC_CTYPE, name)) return;
}

// As the terminal sent it, with line feeds at the ends of lines and none after the last.
std::wstring pasted_text(EditLine* edit) {
    std::wstring text;
    wchar_t c = 0;
    while (el_wgetc(edit, &c) == 1) {
        if (c == L'\0') continue;
        text += c;
        if (!text.ends_with(kPasteEnd)) continue;
        text.resize(text.size() - kPasteEnd.size());
        break;
    }
    std::wstring lines;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == L'\r' && i + 1 < text.size() && text[i + 1] == L'\n') continue;
        lines += text[i] == L'\r' ? L'\n' : text[i];
    }
    while (lines.ends_with(L'\n')) lines.pop_back();
    return lines;
}

unsigned char paste(EditLine* edit, int) {
    el_winsertstr(edit, pasted_text(edit).c_str());
    return CC_REFRESH;
}

std::string common_beginning(const std::vector<std::string>& words) {
    std::string common = words.front();
    for (const auto& word : words) {
        const auto end = std::mismatch(common.begin(), common.end(), word.begin(), word.end()).first;
        common.erase(end, common.end());
    }
    return common;
}

}  // namespace

struct LineEditor::Terminal {
    explicit Terminal(std::function<Completions(const std::string&)> completer)
        : complete(std::move(completer)) {
        use_utf8();
        edit = el_init("cachalot", stdin, stdout, stderr);
        history = history_init();
        if (!edit || !history) fail("cannot set up the terminal");
        HistEvent event;
        ::history(history, &event, H_SETSIZE, 1000);
        ::history(history, &event, H_SETUNIQUE, 1);
        el_set(edit, EL_CLIENTDATA, this);
        el_set(edit, EL_HIST, ::history, history);
        el_set(edit, EL_SIGNAL, 1);
        el_set(edit, EL_EDITOR, "emacs");
        el_set(edit, EL_PROMPT, show_prompt);
        el_set(edit, EL_ADDFN, "cachalot-paste", "insert what is pasted", paste);
        el_set(edit, EL_ADDFN, "cachalot-complete", "complete", on_tab);
        el_source(edit, nullptr);
        el_set(edit, EL_BIND, "\\e[200~", "cachalot-paste", nullptr);
        el_set(edit, EL_BIND, "\\t", "cachalot-complete", nullptr);
        el_set(edit, EL_ADDFN, "cachalot-interrupt", "drop what was typed", interrupt);
        el_set(edit, EL_BIND, "^C", "cachalot-interrupt", nullptr);
        const char* kind = std::getenv("TERM");
        marks_pastes = kind && std::strcmp(kind, "dumb") != 0;
    }
    ~Terminal() {
        if (edit) el_end(edit);
        if (history) history_end(history);
    }

    static Terminal& of(EditLine* edit) {
        void* data = nullptr;
        el_get(edit, EL_CLIENTDATA, &data);
        return *static_cast<Terminal*>(data);
    }

    static char* show_prompt(EditLine* edit) { return of(edit).prompt.data(); }

    // The terminal is prepared before the prompt is shown, since a person may then press any key. Ctrl-C is a
    // key like others: a signal that comes just before the terminal is read would be lost.
    void prepare() {
        el_set(edit, EL_PREP_TERM, 1);
        el_set(edit, EL_SETTY, "-d", "intr=", nullptr);
    }

    static unsigned char interrupt(EditLine* edit, int) {
        of(edit).interrupted = true;
        print_control("^C");
        return CC_EOF;
    }

    static unsigned char on_tab(EditLine* edit, int) {
        const LineInfo* line = el_line(edit);
        const std::string before(line->buffer, line->cursor);
        if (!before.starts_with('/')) {
            el_insertstr(edit, "\t");
            return CC_REFRESH;
        }
        const auto found = of(edit).complete(before);
        if (found.candidates.empty()) return CC_ERROR;
        const auto more = common_beginning(found.candidates).substr(before.size() - found.begin);
        if (!more.empty()) {
            el_insertstr(edit, more.c_str());
            return CC_REFRESH;
        }
        if (found.candidates.size() == 1) return CC_ERROR;
        print_lines("\n");
        for (const auto& candidate : found.candidates) print_line(candidate);
        return CC_REDISPLAY;
    }

    std::function<Completions(const std::string&)> complete;
    EditLine* edit = nullptr;
    History* history = nullptr;
    std::string prompt;
    bool marks_pastes = false;
    bool interrupted = false;  // by the key, while the last line was read
};

LineEditor::LineEditor(std::function<Completions(const std::string&)> complete) {
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        terminal_ = std::make_unique<Terminal>(std::move(complete));
}

LineEditor::~LineEditor() = default;

bool LineEditor::terminal() const { return terminal_ != nullptr; }

Typed LineEditor::read(const char* prompt, std::string& line) {
    if (!terminal_) return std::getline(std::cin, line) ? Typed::something : Typed::end;
    terminal_->prompt = prompt;
    if (terminal_->marks_pastes) print_control(kMarkPastes);
    terminal_->interrupted = false;
    terminal_->prepare();
    int count = 0;
    errno = 0;
    const char* text = el_gets(terminal_->edit, &count);
    const int error = errno;
    if (terminal_->marks_pastes) print_control(kDoNotMark);
    if (!text || count <= 0) {
        print_control("\n");
        return terminal_->interrupted || error == EINTR ? Typed::interrupted : Typed::end;
    }
    line.assign(text, static_cast<std::size_t>(count));
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
    return Typed::something;
}

void LineEditor::remember(const std::string& entry) {
    HistEvent event;
    if (terminal_ && !entry.empty()) history(terminal_->history, &event, H_ENTER, entry.c_str());
}

}  // namespace cachalot::cli
