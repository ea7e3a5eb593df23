// cachalot tokenize: the token ids of a text.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "text/utf8.h"

namespace cachalot::cli {
namespace {

struct TokenizeOptions {
    ModelOptions model;
    std::string text, file;
    bool special = false, count = false, pieces = false, json = false;
    std::vector<std::int32_t> decode;
};

void tokenize(const TokenizeOptions& o) {
    auto checkpoint = Checkpoint::open(o.model.resolved_path());
    Tokenizer tokenizer = checkpoint->tokenizer();
    if (!o.decode.empty()) return print_text(tokenizer.decode(o.decode) + "\n");
    auto ids = tokenizer.encode(input_text(o.text, o.file),
                                o.special ? SpecialTokens::parse : SpecialTokens::literal);
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

}  // namespace

void add_tokenize(CLI::App& app) {
    auto o = std::make_shared<TokenizeOptions>();
    auto* command = app.add_subcommand("tokenize", "Token ids of a text, or the text of token ids");
    o->model.add_to(*command, false);
    auto* text =
        command->add_option("-p,--text", o->text, "the text; else -f, else stdin")->type_name("TEXT");
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
    command->callback([o] { tokenize(*o); });
}

}  // namespace cachalot::cli
