// cachalot run: one answer.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/answer_printer.h"
#include "cli/chat_options.h"
#include "cli/expert_cache_report.h"
#include "cli/terminal_chat.h"
#include "engine/run_sequence.h"
#include "model/checkpoint_files.h"
#include "service/conversation_policy.h"
#include "text/chat_json.h"
#include "text/utf8.h"

namespace cachalot::cli {
namespace {

struct RunOptions {
    ModelOptions model;
    AnswerOptions answer;
    std::string prompt, file, messages, tools;
    std::vector<std::string> question;  // words of the prompt
    bool raw = false, special = false, stats = false, json = false;
};

std::atomic<bool> interrupted{false};

// What an answer took, and what it drafted. `engine` has not evaluated anything else.
struct Work {
    Timings timings;
    std::size_t answer_tokens;
    std::int64_t kv_bytes;
    DraftFigures drafts;
};

nlohmann::ordered_json timings_json(const Work& work, const Engine& engine) {
    const Timings& t = work.timings;
    auto rate = [](std::int64_t tokens, double seconds) {
        return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
    };
    nlohmann::ordered_json result = {{"prefill_seconds", t.prefill_seconds},
                                     {"prefill_tokens_per_second", rate(t.prefill_tokens, t.prefill_seconds)},
                                     {"decode_seconds", t.decode_seconds},
                                     {"decode_tokens_per_second", rate(t.decode_tokens, t.decode_seconds)},
                                     {"drafts", work.drafts.drafts},
                                     {"drafted_tokens", work.drafts.drafted},
                                     {"accepted_tokens", work.drafts.accepted}};
    if (work.drafts.gain > 0) result["draft_gain"] = work.drafts.gain;
    if (const auto stats = engine.expert_stats()) result["expert_cache"] = expert_cache_json(*stats);
    if (const auto stats = engine.engram_stats()) result["engram_cache"] = engram_json(*stats);
    return result;
}

void print_stats(const Work& work, const Engine& engine) {
    const Timings& t = work.timings;
    auto j = timings_json(work, engine);
    say("prompt {} tokens in {:.2f} s ({:.1f}/s), answer {} tokens in {:.2f} s ({:.1f}/s), cache {}",
        t.prefill_tokens, t.prefill_seconds, j["prefill_tokens_per_second"].get<double>(), work.answer_tokens,
        t.decode_seconds, j["decode_tokens_per_second"].get<double>(),
        human_bytes(static_cast<std::uint64_t>(work.kv_bytes)));
    if (work.drafts.drafts > 0) say_line(draft_text(work.drafts));
    if (const auto stats = engine.expert_stats()) say_line(expert_cache_text(*stats));
    if (const auto stats = engine.engram_stats()) say_line(engram_text(*stats));
}

nlohmann::ordered_json call_json(const ParsedToolCall& call) {
    return {{"name", call.name}, {"arguments", call.arguments}};
}

// The question as words on the command line, or -p, -f, standard input.
std::string prompt_of(const RunOptions& o) {
    if (o.question.empty()) {
        const std::string text = input_text(o.prompt, o.file);
        if (text.empty())
            fail("{}: is empty; a prompt is needed", o.file.empty() ? "standard input" : o.file);
        return text;
    }
    const std::string& first = o.question.front();
    if (names_model_file(first))
        fail("{0} is no question: for a model write -m {0}, for a text in a file -f {0}", first);
    return fmt::format("{}", fmt::join(o.question, " "));
}

// What the files hold, and the words of the question.
struct Input {
    std::string prompt;  // empty with messages
    nlohmann::ordered_json messages, tools;
};

Input read_input(const RunOptions& o) {
    Input input;
    if (o.messages.empty())
        input.prompt = prompt_of(o);
    else
        input.messages = read_json(o.messages);
    if (!o.tools.empty()) input.tools = read_json(o.tools);
    return input;
}

// A request to a server says more than what was said; here options do.
Conversation messages_of(const std::string& file, const nlohmann::ordered_json& json, ChatFormat format) {
    if (json.is_object())
        for (const auto& [name, value] : json.items())
            if (name != "messages" && name != "tools")
                fail(
                    "{}: '{}' is not read, only messages and tools are; "
                    "leave it out, and see --help for options",
                    file, name);
    return conversation_from_json(json, format);
}

// The format of the model's chats, which its tokenizer tells.
ChatFormat format_of(const RunOptions& o) {
    return chat_format_of(Checkpoint::open(o.model.resolved_path(), o.model.engram)->tokenizer());
}

Conversation conversation_of(const RunOptions& o, const Input& input, const AnswerForm& form,
                             ChatFormat format) {
    Conversation conversation;
    if (!o.messages.empty())
        conversation = messages_of(o.messages, input.messages, format);
    else
        conversation.messages.push_back(text_message(Role::user, input.prompt));
    if (!o.answer.system.empty())
        conversation.messages.insert(conversation.messages.begin(),
                                     text_message(Role::system, o.answer.system));
    if (!o.tools.empty()) {
        if (!conversation.tools.empty()) fail("{} has tools already; leave out --tools", o.messages);
        conversation.tools = tools_from_json(input.tools, o.tools, format);
    }
    // The tools' descriptions are part of the system text; without one the encoder needs a place for them.
    auto& messages = conversation.messages;
    if (!conversation.tools.empty() && !messages.empty() && messages.front().role != Role::system)
        messages.insert(messages.begin(), text_message(Role::system, ""));
    server::apply_policy(conversation, format);  // as every conversation that the server gets
    if (conversation.response_format.is_null()) conversation.response_format = told_form(form, format);
    return conversation;
}

GenerationOptions generation_of(const RunOptions& o, const AnswerForm& form, const Engine& engine) {
    auto options = o.answer.generation(engine.model());
    options.form = AnswerForms(engine.model().tokenizer).compiled(form);
    return options;
}

void run_chat(const RunOptions& o, const Conversation& conversation, GenerationOptions generation,
              Engine& engine) {
    ChatSession session(engine, drafting_of(o.model.draft), o.model.draft_max);
    AnswerPrinter printer(false);
    ChatCallbacks callbacks;
    callbacks.on_prefill = [&](std::int64_t done, std::int64_t total) {
        return printer.on_prefill(done, total);
    };
    callbacks.cancelled = [] { return interrupted.load(); };
    if (!o.json) callbacks.on_event = [&](const CompletionEvent& event) { return printer.on_event(event); };
    auto result = session.answer(conversation, o.answer.chat(), std::move(generation), callbacks);
    printer.finish();
    const Work work{result.timings, result.completion_tokens, result.kv_bytes, result.drafts};
    if (o.json) {
        nlohmann::ordered_json calls = nlohmann::ordered_json::array();
        for (const auto& call : result.completion.tool_calls) calls.push_back(call_json(call));
        nlohmann::ordered_json out = {
            {"text", result.completion.content},
            {"reasoning", result.completion.reasoning},
            {"tool_calls", calls},
            {"finish_reason", result.finish_reason},
            {"usage",
             {{"prompt_tokens", result.prompt_tokens}, {"completion_tokens", result.completion_tokens}}},
            {"timings", timings_json(work, engine)}};
        print_line(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
        for (const auto& call : result.completion.tool_calls) print_line(call_json(call).dump());
    }
    if (o.stats) print_stats(work, engine);
}

void run_raw(const RunOptions& o, const std::string& prompt, GenerationOptions options, Engine& engine) {
    const Tokenizer& tokenizer = engine.model().tokenizer;
    auto tokens = tokenizer.encode(prompt, o.special ? SpecialTokens::parse : SpecialTokens::literal);
    tokens.insert(tokens.begin(), tokenizer.bos());
    if (o.special) options.special = GenerationOptions::Special::all;
    const auto total = static_cast<std::int64_t>(tokens.size());
    Scheduler scheduler(engine, one_at_a_time(engine, drafting_of(o.model.draft), o.model.draft_max));
    const auto sequence = std::make_shared<Sequence>(
        Generation(engine, std::move(tokens), std::move(options)), SequenceOptions());
    const Generation& generation = sequence->generation();
    Progress progress("reading the prompt", "tokens");
    std::string text;
    auto show = [&](const std::string& piece) {
        text += piece;
        if (!o.json) print_text(piece);
    };
    SequenceCallbacks callbacks;
    callbacks.cancelled = [] { return interrupted.load(); };
    callbacks.on_event = [&](const SequenceEvent& event) {
        if (event.kind == SequenceEvent::Kind::read) {
            progress.update(static_cast<std::uint64_t>(event.done), static_cast<std::uint64_t>(total));
            if (event.done == total) progress.clear();
        }
        show(event.text);
        return true;
    };
    const auto run = run_sequence(scheduler, sequence, callbacks);
    show(run.held_back);
    Work work{run.timings, generation.completion_tokens(), sequence->bytes(), sequence->drafts()};
    work.drafts.gain = scheduler.drafts().gain;
    if (o.json)
        print_line(nlohmann::ordered_json{{"text", text},
                                          {"reasoning", ""},
                                          {"tool_calls", nlohmann::ordered_json::array()},
                                          {"finish_reason", name(generation.reason())},
                                          {"usage",
                                           {{"prompt_tokens", generation.prompt_tokens()},
                                            {"completion_tokens", generation.completion_tokens()}}},
                                          {"timings", timings_json(work, engine)}}
                       .dump());
    else if (!text.empty() && text.back() != '\n')
        print_text("\n");
    if (o.stats) print_stats(work, engine);
}

// Somebody sits there who has named no prompt and asked for nothing that a chat does not have.
bool wants_chat(const RunOptions& o) {
    const bool named = !o.question.empty() || !o.prompt.empty() || !o.file.empty() || !o.messages.empty();
    const bool special = o.raw || o.json || o.stats || !o.tools.empty() || !o.model.profile.empty();
    return !named && !special && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

void run_command(const RunOptions& o) {
    if (wants_chat(o)) {
        TerminalChatOptions chat;
        chat.model = o.model;
        chat.answer = o.answer;
        return terminal_chat(chat);
    }
    o.model.check({.inputs = {o.file, o.messages, o.tools, o.answer.schema, o.answer.grammar}});
    // What is wrong with them is said before the model is opened, which may take minutes.
    const Input input = read_input(o);
    const AnswerForm form = o.answer.form();
    compile_form(form);
    const Conversation conversation = o.raw ? Conversation() : conversation_of(o, input, form, format_of(o));
    Engine engine = o.model.engine(load_model(o.model));
    std::signal(SIGINT, [](int) { interrupted = true; });  // ends the answer; what there is stays printed
    if (o.raw)
        run_raw(o, input.prompt, generation_of(o, form, engine), engine);
    else
        run_chat(o, conversation, generation_of(o, form, engine), engine);
    o.model.write_profile();
}

}  // namespace

void add_run(CLI::App& app) {
    auto o = std::make_shared<RunOptions>();
    auto* command = app.add_subcommand("run", "Answers one prompt");
    o->model.expert_heat = "auto";
    o->model.add_to(*command);
    o->model.add_decoder_prefill_to(*command);
    o->model.add_profile_to(*command);
    o->model.log_options.add_to(*command);
    auto* words = command->add_option("question", o->question,
                                      "the prompt; else -p, -f or stdin, and on a terminal a chat");
    auto* prompt =
        command->add_option("-p,--prompt", o->prompt, "the prompt")->excludes(words)->type_name("TEXT");
    auto* file = command->add_option("-f,--file", o->file, "read the prompt from a file")
                     ->excludes(words)
                     ->excludes(prompt)
                     ->type_name("FILE");
    auto* messages =
        command->add_option("--messages", o->messages, "a whole conversation: JSON as in OpenAI's chat API")
            ->excludes(words)
            ->excludes(prompt)
            ->excludes(file)
            ->type_name("FILE");
    auto* tools =
        command
            ->add_option(
                "--tools", o->tools,
                "tools that the model may call: JSON as in OpenAI's chat API; calls are printed as JSON")
            ->type_name("FILE");
    auto* raw = command->add_flag("--raw", o->raw, "continue the text as it is, without chat format")
                    ->excludes(messages);
    command
        ->add_flag("--special", o->special, "with --raw: recognise special tokens in the text and show them")
        ->needs(raw);
    o->answer.add_to(*command);
    o->model.add_draft_to(*command);
    raw->excludes(tools);
    for (const char* of_chat : {"--system", "--think", "--april"})
        raw->excludes(command->get_option(of_chat));
    command->add_flag("--stats", o->stats, "print speed and memory to stderr");
    command->add_flag("--json", o->json,
                      "print one JSON object: text, reasoning, tool_calls, finish_reason, usage, timings");
    command->callback([o] {
        o->model.log = Log(o->model.log_options.open());
        run_command(*o);
    });
}

}  // namespace cachalot::cli
