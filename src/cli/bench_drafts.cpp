#include "cli/bench_drafts.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/conversation_file.h"
#include "engine/run_sequence.h"
#include "text/prompt.h"

namespace cachalot::cli {
namespace {

struct Text {
    std::string name;
    std::vector<std::int32_t> prompt;
};

// One answer of a text, in all repetitions.
struct Comparison {
    std::string name;
    std::int64_t tokens;                       // of the answer
    std::vector<double> plain, drafted, gain;  // tokens a second, and the second over the first
    DraftFigures drafts;                       // of one repetition
};

struct Written {
    std::vector<std::int32_t> tokens;  // with the prompt
    double tokens_per_second;          // behind the first token
    DraftFigures drafts;
};

std::vector<Text> texts_of(const DraftBench& o, const Tokenizer& tokenizer) {
    const ChatFormat format = chat_format_of(tokenizer);
    std::vector<Text> texts;
    auto add = [&](const std::string& file, std::vector<std::int32_t> prompt) {
        texts.push_back({std::filesystem::path(file).filename().string(), std::move(prompt)});
    };
    for (const std::string& file : o.files) {
        const std::string text = input_text("", file);
        if (text.empty()) fail("{}: is empty", file);
        if (o.raw) {
            auto tokens = tokenizer.encode(text, SpecialTokens::literal);
            tokens.insert(tokens.begin(), tokenizer.bos());
            add(file, std::move(tokens));
            continue;
        }
        Conversation conversation;
        conversation.messages.push_back(text_message(Role::user, text));
        ChatOptions chat;
        chat.format = format;
        add(file, tokenizer.encode_parts(encode_prompt(conversation, chat).parts));
    }
    for (const std::string& file : o.messages) {
        const ConversationFile conversation = read_conversation_file(file, Api::chat, format);
        if (conversation.completion || conversation.prompt.continuation == Continuation::nothing)
            fail("{}: asks for no answer", file);
        add(file, tokenizer.encode_parts(conversation.prompt.parts));
    }
    return texts;
}

// The likeliest tokens, until the model ends its answer.
Written write(Scheduler& scheduler, const Engine& engine, const Text& text, std::int64_t most) {
    GenerationOptions how;
    how.sampling.temperature = 0;
    how.max_tokens = most;
    const auto sequence = std::make_shared<Sequence>(Generation(engine, text.prompt, how), SequenceOptions());
    const Timings timings = run_sequence(scheduler, sequence, {}).timings;
    if (timings.decode_tokens == 0)
        fail("{}: the answer has one token, whose speed is that of the prompt", text.name);
    return {sequence->generation().tokens(),
            static_cast<double>(timings.decode_tokens) / timings.decode_seconds, sequence->drafts()};
}

// With and without drafts in turns, since what a machine has to give changes from second to second.
Comparison compare(Scheduler& plain, const Engine& plain_engine, Scheduler& drafting, const Engine& engine,
                   const Text& text, std::int64_t most, int repetitions) {
    Comparison result{text.name, 0, {}, {}, {}, {}};
    for (int i = -1; i < repetitions; ++i) {  // the first run reads the prompt and warms up
        const Written without = write(plain, plain_engine, text, most);
        const Written with = write(drafting, engine, text, most);
        if (with.tokens != without.tokens)
            fail("{}: the answer is another one with drafts, which must not be; please report it", text.name);
        if (i < 0) continue;
        result.tokens = std::ssize(with.tokens) - std::ssize(text.prompt);
        result.plain.push_back(without.tokens_per_second);
        result.drafted.push_back(with.tokens_per_second);
        result.gain.push_back(with.tokens_per_second / without.tokens_per_second);
        result.drafts = with.drafts;
    }
    return result;
}

double middle(std::vector<double> values) {
    std::ranges::sort(values);
    const std::size_t half = values.size() / 2;
    return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double drafted_length(const DraftFigures& d) {
    return d.drafts > 0 ? static_cast<double>(d.drafted) / static_cast<double>(d.drafts) : 0;
}

void print_json(const std::vector<Comparison>& rows, const char* source, const Engine& engine) {
    nlohmann::ordered_json result = {{"model", engine.model().checkpoint->source()},
                                     {"threads", engine.primitives().threads()},
                                     {"drafts_from", source}};
    for (const Comparison& r : rows)
        result["rows"].push_back({{"text", r.name},
                                  {"tokens", r.tokens},
                                  {"plain_tokens_per_second", middle(r.plain)},
                                  {"draft_tokens_per_second", middle(r.drafted)},
                                  {"gain", middle(r.gain)},
                                  {"gain_each", r.gain},
                                  {"drafts", r.drafts.drafts},
                                  {"drafted_tokens", r.drafts.drafted},
                                  {"accepted_tokens", r.drafts.accepted},
                                  {"mean_accepted", r.drafts.mean_accepted()}});
    print_line(result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_table(const std::vector<Comparison>& rows, const char* source, const Engine& engine) {
    print_line(fmt::format("{} threads, drafts from {}", engine.primitives().threads(), source));
    print_line(fmt::format("{:<20} {:>6} {:>10} {:>10} {:>22}   {}", "text", "tokens", "plain/s", "drafts/s",
                           "times as fast", "drafts"));
    for (const Comparison& r : rows) {
        const auto [low, high] = std::ranges::minmax(r.gain);
        print_line(
            fmt::format("{:<20} {:>6} {:>10.1f} {:>10.1f} {:>6.2f} ({:.2f} to {:.2f})   "
                        "{} of {:.1f} tokens, {:.2f} of them written",
                        r.name, r.tokens, middle(r.plain), middle(r.drafted), middle(r.gain), low, high,
                        r.drafts.drafts, drafted_length(r.drafts), r.drafts.mean_accepted()));
    }
}

}  // namespace

void DraftBench::add_to(CLI::App& command) {
    auto* file =
        command.add_option("-f,--file", files, "with --draft: prompts that are answered, a file each")
            ->type_name("FILE..");
    command
        .add_option(
            "--messages", messages,
            "with --draft: conversations that are answered, the body of a request in OpenAI's chat API "
            "each")
        ->type_name("FILE..");
    command.add_flag("--raw", raw, "with --draft: continue the texts of -f as they are")->needs(file);
}

void bench_drafts(const ModelOptions& model, const DraftBench& o) {
    CommandFiles files;
    for (const auto* names : {&o.files, &o.messages})
        files.inputs.insert(files.inputs.end(), names->begin(), names->end());
    const auto loaded = model.load(files);
    const auto texts = texts_of(o, loaded->tokenizer);
    Engine engine = model.engine(loaded);
    // What is compared with does not keep what a drafter reads. Two caches of experts, though, would halve
    // the memory of both.
    std::optional<Engine> other;
    if (engine.drafter() && !engine.expert_stats()) {
        ModelOptions plain = model;
        plain.draft = "off";
        other.emplace(plain.engine(loaded));
    }
    Engine& without = other ? *other : engine;
    Scheduler plain(without, one_at_a_time(without, Drafting::off));
    Scheduler drafting(engine, one_at_a_time(engine, drafting_of(model.draft), model.draft_max));

    std::vector<Comparison> rows;
    for (const Text& text : texts)
        for (const std::int64_t tokens : o.tokens)
            rows.push_back(compare(plain, without, drafting, engine, text, tokens, o.repetitions));
    o.json ? print_json(rows, drafting.drafts_from(), engine)
           : print_table(rows, drafting.drafts_from(), engine);
}

}  // namespace cachalot::cli
