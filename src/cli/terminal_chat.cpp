#include "cli/terminal_chat.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/answer_printer.h"
#include "cli/chat_commands.h"
#include "cli/chat_history.h"
#include "cli/expert_cache_report.h"
#include "cli/line_editor.h"
#include "file/output_file.h"
#include "file/output_target.h"
#include "file/user_folders.h"
#include "text/chat_json.h"
#include "text/chat_to_json.h"
#include "text/visible_text.h"

namespace cachalot::cli {
namespace {

// Set by Ctrl-C: ends the answer that is being written.
std::atomic<bool> answer_stopped{false};

bool instructs(const Message& message) {
    return message.role == Role::system || message.role == Role::developer;
}

double rate(std::int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
}

// History is a comfort: without it the chat goes on.
ChatHistory open_history(const std::string& option, bool terminal) {
    if (!terminal || option == "off") return ChatHistory({});
    try {
        return ChatHistory(option == "auto" ? default_history_file() : std::filesystem::path(option));
    } catch (const Error& e) {
        say("cachalot: no history: {}", e.what());
        return ChatHistory({});
    }
}

bool holds_conversation(const std::string& path) {
    try {
        const auto json = read_json(path);
        if (json.is_object() && json.size() != json.count("messages") + json.count("tools")) return false;
        const auto& messages = json.is_object() && json.contains("messages") ? json["messages"] : json;
        return messages.is_array() && std::all_of(messages.begin(), messages.end(), [](const auto& message) {
                   return message.is_object() && message.contains("role");
               });
    } catch (const Error&) {
        return false;
    }
}

class Chat {
  public:
    explicit Chat(const TerminalChatOptions& options)
        : options_(options),
          engine_(options.model.engine()),
          session_(engine_, drafting_of(options.model.draft), options.model.draft_max),
          editor_(chat_completions),
          history_(open_history(options.history, editor_.terminal())),
          answer_(options.answer),
          told_(told_form(answer_.form(), chat_format_of(engine_.model().tokenizer))),
          form_(AnswerForms(engine_.model().tokenizer).compiled(answer_.form())),
          think_(options.answer.think) {
        if (!answer_.system.empty()) conversation_.messages = {text_message(Role::system, answer_.system)};
        if (!options_.load.empty()) load(options_.load);
        for (const auto& entry : history_.earlier()) editor_.remember(entry);
    }

    void loop() {
        banner();
        MessageReader reader([this](const char* prompt, std::string& line) {
            const Typed typed = editor_.read(prompt, line);
            return answer_stopped.exchange(false) ? Typed::interrupted : typed;
        });
        std::string message;
        while (true) {
            const Typed typed = reader.read(message);
            if (typed == Typed::end) return;
            if (typed == Typed::interrupted) {
                say("(Ctrl-D or /bye leaves)");
                continue;
            }
            if (message.empty()) continue;
            remember(message);
            try {
                if (!react(read_chat_line(message))) return;
            } catch (const Error& e) {
                say("{}", e.what());
            }
            answer_stopped = false;
        }
    }

  private:
    void banner() const {
        const Config& c = engine_.model().config;
        say("{}: {} layers, context {} tokens. /help lists the commands.",
            visible_line(c.name.empty() ? engine_.model().checkpoint->source() : c.name), c.layers,
            engine_.context());
        if (options_.model.is_shipped())
            say("This is a toy of 61 million parameters, to try the program with; "
                "its answers are often wrong.\n"
                "The weights of DeepSeek V4 are at https://huggingface.co/deepseek-ai; "
                "then: cachalot chat -m MODEL");
    }

    void remember(const std::string& message) {
        editor_.remember(message);
        try {
            history_.add(message);
        } catch (const Error& e) {
            say("cachalot: history is not kept: {}", e.what());
            history_ = ChatHistory({});
        }
    }

    // Returns false to leave.
    bool react(const ChatLine& line) {
        switch (line.verb) {
            case ChatVerb::say: take(line.argument); break;
            case ChatVerb::help: print_lines(chat_help()); break;
            case ChatVerb::system: set_system(line.argument); break;
            case ChatVerb::think: set_thinking(line.argument); break;
            case ChatVerb::temperature: set_temperature(line.argument); break;
            case ChatVerb::clear: messages().erase(first_turn(), messages().end()); break;
            case ChatVerb::retry: retry(); break;
            case ChatVerb::undo: undo(); break;
            case ChatVerb::save: save(line.argument); break;
            case ChatVerb::load: load(line.argument); break;
            case ChatVerb::stats: stats(); break;
            case ChatVerb::leave: return false;
        }
        return true;
    }

    std::vector<Message>& messages() { return conversation_.messages; }

    // Behind what instructs the model.
    std::vector<Message>::iterator first_turn() {
        return std::find_if_not(messages().begin(), messages().end(), instructs);
    }

    void set_system(const std::string& text) {
        if (!text.empty()) {
            conversation_ = {};
            messages().push_back(text_message(Role::system, text));
            return;
        }
        const bool any = !messages().empty() && instructs(messages().front());
        print_line(any ? content_text(messages().front().content) : "(none)");
    }

    void set_thinking(const std::string& mode) {
        try {
            check_think(mode);
        } catch (const Error&) {
            fail("/think: {} (now: {})", kThinkModes, think_);
        }
        think_ = mode;
    }

    void set_temperature(const std::string& text) {
        float value = 0;
        const char* end = text.data() + text.size();
        const auto [last, error] = std::from_chars(text.data(), end, value);
        if (error != std::errc() || last != end || !std::isfinite(value) || value < 0)
            fail("/temp: a number of at least 0 (now: {})",
                 answer_.generation(engine_.model()).sampling.temperature);
        answer_.temperature = value;
    }

    void undo() {
        auto& all = messages();
        auto last =
            std::find_if(all.rbegin(), all.rend(), [](const Message& m) { return m.role == Role::user; });
        if (last == all.rend()) fail("/undo: there is no question yet");
        all.erase(last.base() - 1, all.end());
    }

    void retry() {
        if (first_turn() == messages().end()) fail("/retry: there is no question yet");
        if (messages().back().role == Role::assistant) messages().pop_back();
        answer();
    }

    // The first call of the last answer that has no result yet.
    const ToolCall* open_call() const {
        const auto& all = conversation_.messages;
        auto last =
            std::find_if(all.rbegin(), all.rend(), [](const Message& m) { return m.role != Role::tool; });
        if (last == all.rend() || last->role != Role::assistant) return nullptr;
        const auto results = static_cast<std::size_t>(last - all.rbegin());
        return results < last->tool_calls.size() ? &last->tool_calls[results] : nullptr;
    }

    void ask_for_result() const {
        if (const ToolCall* call = open_call())
            say("The model calls {}({}). What you type next is the result.", visible_line(call->name),
                call->arguments);
    }

    // A question, or the result of a call.
    void take(const std::string& text) {
        if (const ToolCall* call = open_call()) {
            Message result = text_message(Role::tool, text);
            result.tool_call_id = call->id;
            messages().push_back(std::move(result));
            if (open_call()) return ask_for_result();
        } else {
            messages().push_back(text_message(Role::user, text));
        }
        try {
            answer();
        } catch (const Error&) {  // this turn failed; the conversation goes on without it
            messages().pop_back();
            throw;
        }
    }

    void answer() {
        AnswerPrinter printer(true);
        ChatCallbacks callbacks;
        callbacks.on_prefill = [&](std::int64_t done, std::int64_t total) {
            return printer.on_prefill(done, total);
        };
        callbacks.cancelled = [] { return answer_stopped.load(); };
        callbacks.on_event = [&](const CompletionEvent& event) { return printer.on_event(event); };
        auto generation = answer_.generation(engine_.model());
        generation.form = form_;
        conversation_.response_format = told_;
        try {
            last_ = session_.answer(conversation_, options_.answer.chat(think_), std::move(generation),
                                    callbacks);
        } catch (const Error& e) {
            fail("{}{}", e.what(), tokens() >= engine_.context() ? ". " + remedy() : "");
        }
        printer.finish();
        tell_how_it_ended();
        Message reply = text_message(Role::assistant, last_.completion.content);
        reply.reasoning = last_.completion.reasoning;
        for (const auto& call : last_.completion.tool_calls)
            reply.tool_calls.push_back({fmt::format("call_{}", ++calls_), call.name, call.arguments});
        messages().push_back(std::move(reply));
        ask_for_result();
    }

    std::int64_t tokens() const {
        const Tokenizer& tokenizer = engine_.model().tokenizer;
        ChatOptions chat = options_.answer.chat(think_);
        chat.format = chat_format_of(tokenizer, chat.format);
        return static_cast<std::int64_t>(
            tokenizer.encode_parts(encode_prompt(conversation_, chat).parts).size());
    }

    std::string remedy() const {
        return fmt::format(
            "/undo takes back a question, /clear starts anew{}",
            engine_.context() < engine_.model().config.context_length
                ? fmt::format(", -c allows up to {} tokens", engine_.model().config.context_length)
                : "");
    }

    void tell_how_it_ended() const {
        const auto all = static_cast<std::int64_t>(last_.prompt_tokens + last_.completion_tokens);
        if (last_.finish_reason == "cancelled") say("(stopped)");
        if (last_.finish_reason == "length" && all >= engine_.context())
            say("(cut: the context of {} tokens is full. {})", engine_.context(), remedy());
        else if (last_.finish_reason == "length")
            say("(cut: {} tokens)", last_.completion_tokens);
        if (editor_.terminal() && isatty(STDERR_FILENO))
            say("({} tokens, {:.1f} tokens/s)", last_.completion_tokens,
                rate(last_.timings.decode_tokens, last_.timings.decode_seconds));
    }

    void stats() const {
        const Timings& t = last_.timings;
        print_line(fmt::format("context   {} of {} tokens, {}", last_.prompt_tokens + last_.completion_tokens,
                               engine_.context(), human_bytes(static_cast<std::uint64_t>(last_.kv_bytes))));
        print_line(fmt::format("prompt    {} tokens, {} of them reused, {:.1f} tokens/s", last_.prompt_tokens,
                               last_.cached_tokens, rate(t.prefill_tokens, t.prefill_seconds)));
        print_line(fmt::format("answer    {} tokens, {:.1f} tokens/s", last_.completion_tokens,
                               rate(t.decode_tokens, t.decode_seconds)));
        if (last_.drafts.drafts > 0) print_line(draft_text(last_.drafts));
        if (const auto experts = engine_.expert_stats()) print_lines(expert_cache_text(*experts));
        if (const auto engram = engine_.engram_stats()) print_lines(engram_text(*engram));
    }

    // A conversation may be replaced by a longer one, but nothing else: nobody is asked.
    void save(const std::string& path) const {
        CommandFiles files = options_.model.files();
        files.outputs.push_back(history_.file().string());
        files.outputs.push_back(path);
        files.check();
        if (would_replace(path) && !holds_conversation(path))
            fail("{}: exists and is no conversation, so it is not replaced; name another file", path);
        const auto json = conversation_to_json(conversation_);
        const auto text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
        OutputFile file(path);
        file.write(std::as_bytes(std::span(text)));
        file.commit();
        say("{} messages written to {}", conversation_.messages.size(), path);
    }

    void load(const std::string& path) {
        conversation_ = conversation_from_json(read_json(path), chat_format_of(engine_.model().tokenizer));
        say("{} messages read from {}", conversation_.messages.size(), path);
        ask_for_result();
    }

    const TerminalChatOptions& options_;
    Engine engine_;
    ChatSession session_;
    LineEditor editor_;
    ChatHistory history_;
    AnswerOptions answer_;               // as /temp has changed it
    const nlohmann::ordered_json told_;  // of the form that answers have
    const FormPtr form_;
    std::string think_;
    Conversation conversation_;
    int calls_ = 0;  // so far, for their ids
    ChatResult last_;
};

}  // namespace

void terminal_chat(const TerminalChatOptions& o) {
    compile_form(o.answer.form());  // what is wrong with it is said before the model is opened
    Chat conversation(o);
    struct sigaction action = {};
    action.sa_handler = [](int) { answer_stopped = true; };  // without SA_RESTART: reading a line ends, too
    sigaction(SIGINT, &action, nullptr);
    conversation.loop();
}

}  // namespace cachalot::cli
