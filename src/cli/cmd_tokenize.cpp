// cachalot tokenize: the token ids of a text or a conversation, and the way back.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/conversation_file.h"
#include "cli/option_value.h"
#include "file/text_file.h"
#include "text/chat_format.h"
#include "text/completion_parser.h"
#include "text/tool_namespace.h"
#include "text/utf8.h"

namespace cachalot::cli {
namespace {

struct TokenizeOptions {
    ModelOptions model;
    std::string text, file, conversation, api = "chat";
    bool special = false, count = false, pieces = false, json = false;
    bool prompt_text = false, parse = false, thinking = false, april = false;
    std::vector<std::int32_t> decode;
};

const std::vector<std::string> kApis = {"chat", "messages", "responses"};

// A model, or a release's tokenizer.json alone.
Tokenizer open_tokenizer(const std::string& path) {
    if (path.ends_with(".json")) return Tokenizer::from_json(read_text_file(path), path);
    return Checkpoint::open(path)->tokenizer();
}

void print_tokens(const TokenizeOptions& o, const Tokenizer& tokenizer,
                  const std::vector<std::int32_t>& ids) {
    if (o.json) {
        nlohmann::ordered_json result;
        if (!o.count) result["tokens"] = ids;
        result["count"] = ids.size();
        if (o.pieces)
            for (auto id : ids) result["pieces"].push_back(repair_utf8(tokenizer.bytes(id)));
        return print_line(result.dump());
    }
    if (o.count) return print_line(std::to_string(ids.size()));
    if (o.pieces) {
        for (auto id : ids)
            print_line(fmt::format("{:>7}  {}", id, nlohmann::json(repair_utf8(tokenizer.bytes(id))).dump()));
        return;
    }
    print_line(fmt::format("{}", fmt::join(ids, " ")));
}

// What a completion says, as a message of a chat completion; with --json also what had to be mended.
void print_completion(const TokenizeOptions& o, const Completion& completion, ChatFormat format) {
    using nlohmann::ordered_json;
    ordered_json calls = ordered_json::array();
    for (const auto& call : completion.tool_calls) {
        const SplitName name = format == ChatFormat::v41 ? split_name(call.name) : SplitName{{}, call.name};
        calls.push_back(
            {{"type", "function"}, {"function", {{"name", name.name}, {"arguments", call.arguments}}}});
        if (!name.name_space.empty()) calls.back()["namespace"] = name.name_space;
    }
    ordered_json result = {{"role", "assistant"},
                           {"content", completion.content},
                           {"reasoning_content", completion.reasoning},
                           {"tool_calls", std::move(calls)}};
    if (o.json) {
        ordered_json repairs = ordered_json::array();
        for (const Repair repair : completion.repairs) repairs.push_back(to_string(repair));
        ordered_json message = std::move(result);
        result = ordered_json::object();
        result["message"] = std::move(message);
        result["repairs"] = std::move(repairs);
    }
    print_line(result.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

void tokenize(const TokenizeOptions& o) {
    const Tokenizer tokenizer = open_tokenizer(o.model.resolved_path());
    if (!o.decode.empty()) return print_text(tokenizer.decode(o.decode) + "\n");
    const ChatFormat format = chat_format_of(tokenizer, o.april ? ChatFormat::v4_april : ChatFormat::v4);
    ConversationFile conversation;
    if (!o.conversation.empty()) {
        const auto api = std::find(kApis.begin(), kApis.end(), o.api) - kApis.begin();
        conversation = read_conversation_file(o.conversation, static_cast<Api>(api), format);
    }
    const bool text_given = !o.text.empty() || !o.file.empty();
    if (text_given && (conversation.completion || (!o.conversation.empty() && !o.parse)))
        fail("{} says what is read; leave out -p and -f", o.conversation);
    if (o.parse) {
        const bool reasons = o.thinking || conversation.prompt.continuation == Continuation::reasoning;
        const std::string text =
            conversation.completion ? *conversation.completion : input_text(o.text, o.file);
        return print_completion(o, parse_completion(text, reasons, conversation.tools, format), format);
    }
    if (o.conversation.empty())
        return print_tokens(o, tokenizer,
                            tokenizer.encode(input_text(o.text, o.file),
                                             o.special ? SpecialTokens::parse : SpecialTokens::literal));
    if (conversation.completion) fail("{} is a completion; --parse reads it", o.conversation);
    const auto& parts = conversation.prompt.parts;
    if (!o.prompt_text) return print_tokens(o, tokenizer, tokenizer.encode_parts(parts));
    if (o.json) return print_line(nlohmann::json({{"text", repair_utf8(conversation.prompt.text())}}).dump());
    print_text(conversation.prompt.text());
}

// `of_tokens`: options that say how tokens are printed or read; `texts`: where a text comes from.
void add_conversation_options(CLI::App& command, TokenizeOptions& o,
                              const std::vector<CLI::Option*>& of_tokens,
                              const std::vector<CLI::Option*>& texts) {
    auto* conversation =
        command.add_option("--conversation", o.conversation, "the prompt of a conversation in JSON")
            ->type_name("FILE");
    command.add_option("--api", o.api, "whose request it is: chat, messages, responses")
        ->check(one_of(kApis))
        ->needs(conversation)
        ->capture_default_str()
        ->type_name("NAME");
    command.add_flag("--april", o.april, "V4: the effort as the April preview was taught it")
        ->needs(conversation);
    auto* prompt = command.add_flag("--text", o.prompt_text, "print the conversation's prompt, not its ids")
                       ->needs(conversation);
    auto* parse = command.add_flag("--parse", o.parse,
                                   "read a model's answer (-p, -f, stdin) back: reasoning, content, calls");
    command.add_flag("--thinking", o.thinking, "the answer begins inside reasoning")->needs(parse);
    parse->excludes(prompt);
    for (auto* option : of_tokens) {
        parse->excludes(option);
        prompt->excludes(option);
    }
    for (auto* option : texts) prompt->excludes(option);
}

}  // namespace

void add_tokenize(CLI::App& app) {
    auto o = std::make_shared<TokenizeOptions>();
    auto* command = app.add_subcommand("tokenize", "Token ids of a text or a conversation, and the way back");
    o->model.add_to(*command, false);
    auto* text =
        command->add_option("-p,--prompt", o->text, "the text; else -f, else stdin")->type_name("TEXT");
    auto* file = command->add_option("-f,--file", o->file, "read the text from a file")
                     ->excludes(text)
                     ->type_name("FILE");
    auto* special = command->add_flag("--special", o->special,
                                      "recognise special tokens such as <think> (default: they are text)");
    auto* count = command->add_flag("--count", o->count, "print only how many there are");
    auto* pieces =
        command->add_flag("--pieces", o->pieces, "print each token with its text")->excludes(count);
    auto* decode = command->add_option("--decode", o->decode, "ids to turn into text: --decode 5,17,9")
                       ->delimiter(',')
                       ->type_name("IDS");
    auto* json = command->add_flag("--json", o->json,
                                   R"(print {"tokens": [...], "count": N}, with --count only the latter)");
    for (auto* of_text : {text, file, special, count, pieces, json}) decode->excludes(of_text);
    add_conversation_options(*command, *o, {special, decode, count, pieces}, {text, file});
    special->excludes("--conversation");
    decode->excludes("--conversation");
    command->footer(
        "The conversation is the body of a request (--api), or what DeepSeek's encoder is given:\n"
        "{\"messages\": [...], \"thinking_mode\": \"chat\" or \"thinking\", \"reasoning_effort\": 37}.\n"
        "-m may also be a tokenizer.json, which tells the format of the chat.");
    command->callback([o] { tokenize(*o); });
}

}  // namespace cachalot::cli
