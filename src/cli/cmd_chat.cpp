// cachalot chat: a conversation on the terminal.
#include <histedit.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/answer_printer.h"
#include "cli/chat_options.h"
#include "cli/expert_cache_report.h"
#include "file/output_file.h"
#include "file/text_file.h"
#include "text/chat_json.h"

namespace cachalot::cli {
namespace {

struct ChatCommandOptions {
    ModelOptions model;
    AnswerOptions answer;
    std::string load;
};

// Set by Ctrl-C: ends the answer that is being written.
std::atomic<bool> interrupted{false};

constexpr const char* kHelp =
    "/help            this list\n"
    "/system [TEXT]   set the system text (without TEXT: show it); starts a new conversation\n"
    "/think MODE      off, on, high or max\n"
    "/new             start a new conversation\n"
    "/retry           answer the last question again\n"
    "/save FILE       write the conversation as JSON\n"
    "/load FILE       continue a saved conversation\n"
    "/stats           tokens, speed and memory\n"
    "/quit            leave (also Ctrl-D)\n"
    "Ctrl-C stops an answer. A line that ends in \\ goes on in the next one.\n";

// Lines from the terminal with history and editing, or plainly from a pipe.
class LineReader {
  public:
    explicit LineReader(const char* program) : terminal_(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        if (!terminal_) return;
        edit_ = el_init(program, stdin, stdout, stderr);
        history_ = history_init();
        if (!edit_ || !history_) fail("cannot set up the terminal");
        HistEvent event;
        history(history_, &event, H_SETSIZE, 1000);
        el_set(edit_, EL_HIST, history, history_);
        el_set(edit_, EL_SIGNAL, 1);
        el_set(edit_, EL_EDITOR, "emacs");
        el_set(edit_, EL_PROMPT, prompt);
        el_source(edit_, nullptr);
    }
    ~LineReader() {
        if (edit_) el_end(edit_);
        if (history_) history_end(history_);
    }
    LineReader(const LineReader&) = delete;
    LineReader& operator=(const LineReader&) = delete;

    bool terminal() const { return terminal_; }

    // The next message without its line end; false at the end of the input.
    bool read(std::string& message) {
        message.clear();
        std::string line;
        while (read_line(line, !message.empty())) {
            if (line.empty() || line.back() != '\\') {
                message += line;
                return true;
            }
            line.back() = '\n';
            message += line;
        }
        return !message.empty();
    }

  private:
    static char* prompt(EditLine*) {
        static char first[] = "> ";
        static char next[] = ". ";
        return continued_ ? next : first;
    }

    bool read_line(std::string& line, bool continued) {
        if (!terminal_) return static_cast<bool>(std::getline(std::cin, line));
        continued_ = continued;
        int count = 0;
        errno = 0;
        const char* text = el_gets(edit_, &count);
        if (!text) {
            if (errno != EINTR) return false;
            interrupted = false;  // Ctrl-C while typing: a fresh line
            line.clear();
            std::putchar('\n');
            return true;
        }
        line.assign(text, static_cast<std::size_t>(count));
        while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
        if (!line.empty()) {
            HistEvent event;
            history(history_, &event, H_ENTER, line.c_str());
        }
        return true;
    }

    static inline bool continued_ = false;
    bool terminal_;
    EditLine* edit_ = nullptr;
    History* history_ = nullptr;
};

class Chat {
  public:
    explicit Chat(const ChatCommandOptions& options)
        : options_(options),
          engine_(options.model.engine()),
          session_(engine_),
          reader_("cachalot"),
          think_(options.answer.think),
          system_(options.answer.system) {
        if (!options_.load.empty()) load(options_.load);
    }

    void loop() {
        const Config& c = engine_.model().config;
        fmt::print(stderr, "{}: {} layers, context {} tokens. /help lists the commands.\n",
                   c.name.empty() ? engine_.model().checkpoint->source() : c.name, c.layers,
                   engine_.context());
        std::string line;
        while (reader_.read(line)) {
            if (line.empty()) continue;
            try {
                if (line[0] == '/') {
                    if (!command(line)) break;
                } else {
                    messages_.push_back(text_message(Role::user, line));
                    answer();
                }
            } catch (const Error& e) {  // this turn failed; the conversation goes on without it
                fmt::print(stderr, "{}\n", e.what());
                if (!messages_.empty() && messages_.back().role == Role::user) messages_.pop_back();
            }
        }
        if (reader_.terminal()) std::putchar('\n');
    }

  private:
    // Returns false to leave.
    bool command(const std::string& line) {
        auto space = line.find(' ');
        std::string verb = line.substr(0, space),
                    rest = space == std::string::npos ? "" : line.substr(space + 1);
        if (verb == "/quit" || verb == "/exit") return false;
        if (verb == "/help") {
            fmt::print("{}", kHelp);
        } else if (verb == "/system") {
            if (rest.empty()) {
                fmt::print("{}\n", system_.empty() ? "(none)" : system_);
            } else {
                system_ = rest;
                messages_.clear();
            }
        } else if (verb == "/think") {
            if (std::find(kThinkModes.begin(), kThinkModes.end(), rest) == kThinkModes.end())
                fail("/think: off, on, high or max (now: {})", think_);
            think_ = rest;
        } else if (verb == "/new") {
            messages_.clear();
        } else if (verb == "/retry") {
            if (messages_.empty()) fail("/retry: there is no question yet");
            if (messages_.back().role == Role::assistant) messages_.pop_back();
            answer();
        } else if (verb == "/save") {
            save(rest);
        } else if (verb == "/load") {
            load(rest);
        } else if (verb == "/stats") {
            stats();
        } else {
            fail("{}: unknown command; /help lists them", verb);
        }
        return true;
    }

    Conversation conversation() const {
        Conversation all;
        if (!system_.empty()) all.messages.push_back(text_message(Role::system, system_));
        all.messages.insert(all.messages.end(), messages_.begin(), messages_.end());
        return all;
    }

    void answer() {
        interrupted = false;
        AnswerPrinter printer(true);
        ChatCallbacks callbacks;
        callbacks.on_prefill = [&](std::int64_t done, std::int64_t total) {
            return printer.on_prefill(done, total);
        };
        callbacks.cancelled = [] { return interrupted.load(); };
        callbacks.on_event = [&](const CompletionEvent& event) { return printer.on_event(event); };
        last_ = session_.answer(conversation(), options_.answer.chat(think_),
                                options_.answer.generation(engine_.model()), callbacks);
        printer.finish();
        if (last_.finish_reason == "cancelled") fmt::print(stderr, "(stopped)\n");
        if (last_.finish_reason == "length")
            fmt::print(stderr, "(cut: {} tokens)\n", last_.completion_tokens);
        Message reply = text_message(Role::assistant, last_.completion.content);
        reply.reasoning = last_.completion.reasoning;
        messages_.push_back(std::move(reply));
    }

    void stats() const {
        const Timings& t = last_.timings;
        auto rate = [](std::int64_t tokens, double seconds) {
            return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
        };
        fmt::print("context   {} of {} tokens, {}\n", last_.prompt_tokens + last_.completion_tokens,
                   engine_.context(), human_bytes(static_cast<std::uint64_t>(last_.kv_bytes)));
        fmt::print("prompt    {} tokens, {} of them reused, {:.1f}/s\n", last_.prompt_tokens,
                   last_.cached_tokens, rate(t.prefill_tokens, t.prefill_seconds));
        fmt::print("answer    {} tokens, {:.1f}/s\n", last_.completion_tokens,
                   rate(t.decode_tokens, t.decode_seconds));
        if (const auto experts = engine_.expert_stats()) fmt::print("{}", expert_cache_text(*experts));
    }

    void save(const std::string& path) const {
        if (path.empty()) fail("/save: give a file name");
        nlohmann::ordered_json list = nlohmann::ordered_json::array();
        for (const auto& m : conversation().messages) {
            const char* role = m.role == Role::system ? "system"
                               : m.role == Role::user ? "user"
                                                      : "assistant";
            nlohmann::ordered_json one = {{"role", role}, {"content", content_text(m.content)}};
            if (!m.reasoning.empty()) one["reasoning_content"] = m.reasoning;
            list.push_back(one);
        }
        std::string text = list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
        OutputFile file(path);
        file.write(std::as_bytes(std::span(text)));
        file.commit();
        fmt::print(stderr, "{} messages written to {}\n", list.size(), path);
    }

    void load(const std::string& path) {
        if (path.empty()) fail("/load: give a file name");
        auto loaded = conversation_from_json(parse_json(read_text_file(path), path)).messages;
        system_.clear();
        if (!loaded.empty() && loaded.front().role == Role::system) {
            system_ = content_text(loaded.front().content);
            loaded.erase(loaded.begin());
        }
        messages_ = std::move(loaded);
        fmt::print(stderr, "{} messages read from {}\n", messages_.size(), path);
    }

    const ChatCommandOptions& options_;
    Engine engine_;
    ChatSession session_;
    LineReader reader_;
    std::string think_, system_;
    std::vector<Message> messages_;
    ChatResult last_;
};

void chat(const ChatCommandOptions& o) {
    Chat conversation(o);
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted = true; };  // without SA_RESTART: reading a line ends, too
    sigaction(SIGINT, &action, nullptr);
    conversation.loop();
}

}  // namespace

void add_chat(CLI::App& app) {
    auto o = std::make_shared<ChatCommandOptions>();
    auto* command = app.add_subcommand("chat", "A conversation on the terminal");
    o->model.expert_heat = "auto";
    o->model.add_to(*command);
    o->answer.add_to(*command);
    command->add_option("--load", o->load, "continue a conversation that /save wrote")->type_name("FILE");
    command->footer(std::string("In the conversation:\n") + kHelp);
    command->callback([o] { chat(*o); });
}

}  // namespace cachalot::cli
