// Wrong usage, options that contradict each other, and what is missing: each is said, none is passed over.
#include <filesystem>

#include "program.h"
#include "support/nano.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

TEST_F(Commands, ValuesOutOfRangeAreWrongUsage) {
    const std::pair<const char*, const char*> cases[] = {
        {"run hi --temp -1", "less than 0"},
        {"chat --temp -0.5", "less than 0"},
        {"run hi --top-p 0", "not more than 0"},
        {"run hi --top-p 2", "more than 1"},
        {"run hi --min-p 1.5", "--min-p"},
        {"run hi --repetition-penalty 0", "not more than 0"},
        {"run hi --repetition-penalty -1", "not more than 0"},
        {"run hi --top-k -1", "--top-k"},
        {"run hi --top-k 99999999999", "--top-k"},
        {"run hi --bias 17=nan", "ID=VALUE"},
        {"run hi --bias 17=", "ID=VALUE"},
        {"run hi --bias x", "ID=VALUE"},
        {"run hi --seed -2", "--seed"},
        {"imatrix -f x -o y --chunks -1", "--chunks"},
        {"run hi --expert-cache 0", "no size"},
        {"run hi --expert-cache nan%", "no share"},
        {"run hi --expert-cache 200%", "at most 100%"},
        {"bench --expert-cache -1%", "no share"},
        {"convert a b --type a", "REGEX=TYPE"},
        {"convert a b --type =q8_0", "REGEX=TYPE"},
        {"convert a b --type 'a=q9'", "q9"},
        {"convert a b --experts q9", "q9"},
        {"convert a b --dense q9", "q9"},
        {"convert a b --embeddings q9", "q9"},
        {"synth x --kinds foo", "none of window, csa, hca"},
        {"synth x --kinds csa,hc", "did you mean"},
        {"synth x --dense-type q9", "q9"},
        {"synth x --like flsh", "did you mean 'flash'?"},
        {"serve --cors notaurl", "notaurl"},
        {"serve --metrics-prefix 'a b'", "a b"},
        {"serve --port 99999", "65535"},
        {"serve --log-level loud", "none of trace, debug, info, warn, error, off"},
        {"run hi --log-level wran", "did you mean 'warn'?"},
        {"chat --log-level ''", "the value is empty"},
        {"serve --port -1", "65535"},
        {"serve --queue 0", "100000"},
        {"launch claude --port 70000", "65535"},
        {"launch codx", "did you mean 'codex'?"},
        {"run hi --think hgh", "did you mean 'high'?"},
        {"run hi --draft on", "'on' is none of auto, off, lookup, dspark, mtp"},
        {"serve --draft 2", "'2' is none of auto, off, lookup, dspark, mtp"},
        {"chat --draft lokup", "did you mean 'lookup'?"},
    };
    for (const auto& [arguments, named] : cases) expect_usage(arguments, named);
}

TEST_F(Commands, WhatIsMissingIsWrongUsage) {
    const std::pair<const char*, const char*> cases[] = {
        {"convert a", "no OUTPUT"},
        {"convert --to release a", "the folder to write"},
        {"compare a", "name two models"},
        {"compare a b c", "name two models"},
        {"compare a b --baseline c", "name one model"},
        {"logits --out x", "--tokens"},
        {"imatrix -o x", "-f"},
        {"imatrix -f x", "-o"},
        {"serve --tls-cert x", "--tls-key"},
        {"serve --tls-key x", "--tls-cert"},
        {"serve --log-text", "--audit-log"},
        {"launch claude --print --port 0", "--port"},
    };
    for (const auto& [arguments, named] : cases) expect_usage(arguments, named);
}

TEST_F(Commands, HelpSaysWhatContextMeansToACommand) {
    EXPECT_THAT(run("run --help").out, testing::HasSubstr("most tokens of a conversation"));
    const std::pair<const char*, const char*> cases[] = {
        {"perplexity", "0: 2048"}, {"compare", "0: 2048"}, {"imatrix", "0: 512"}};
    for (const auto& [command, window] : cases)
        EXPECT_THAT(run(fmt::format("{} --help", command)).out,
                    testing::AllOf(testing::HasSubstr("tokens of a window"), testing::HasSubstr(window)));
}

TEST_F(Commands, WordsTooManyAreNamed) {
    expect_usage("inspect a b", "'b' is one argument too many: inspect takes PATH");
    expect_usage("convert a b c", "'c' is one argument too many");
    expect_usage("logits x --out y", "'x'");
    expect_usage("cache stat x", "'x'");
    EXPECT_THAT(run("compare --help").out, Not(HasSubstr("(1x)")));
}

TEST_F(Commands, WhatIsSaidTwiceIsNamed) {
    const std::pair<const char*, const char*> cases[] = {
        {"run hi --temp 1 --temp 2", "--temp is given twice"},
        {"run hi -m a --model=b", "--model is given twice"},
        {"serve --draft off --draft off", "--draft is given twice"},
        {"inspect a -m b", "'a' and --model b both say what PATH is"},
        {"inspect -m b a", "'a' and --model b both say what PATH is"},
        {"convert a b -m c", "'a' and --model c both say what INPUT is"},
        {"convert a b -o c", "'b' and --output c both say what OUTPUT is"},
        {"convert a -m b -o c", "'a' and --model b both say what INPUT is"},
        {"synth a -o b", "'a' and --output b both say what OUT.gguf is"},
    };
    for (const auto& [arguments, named] : cases) expect_usage(arguments, named);
    // Lists are what they were, and so is a word for what no name has taken.
    expect_error("run hi --stop a --stop b -m " + path("none"), path("none"));
    expect_error(fmt::format("convert {} -m {}", path("out"), path("none")), path("none"));
    EXPECT_EQ(run(fmt::format("inspect -m {}", test::kNanoPath)).out,
              run(fmt::format("inspect {}", test::kNanoPath)).out);
    EXPECT_THAT(run("run --help").out, HasSubstr("{auto,lookup,off}"));
}

TEST_F(Commands, OptionsThatWouldBeIgnoredAreRefused) {
    for (const char* option : {"--recipe q2", "--imatrix x", "--experts q8_0", "--dense q8_0",
                               "--embeddings q8_0", "--type 'a=q8_0'"}) {
        const std::string name(option, std::string_view(option).find(' '));
        expect_usage(fmt::format("convert a b --pack {}", option), name);
        expect_usage(fmt::format("convert a b --to release {}", option), name);
    }
    expect_usage("convert a b --pack --to release", "--to");
    expect_usage("convert a b --pack --to gguf", "--to");
    const std::pair<const char*, const char*> cases[] = {
        {"run --raw -p x --tools t", "--tools"},
        {"run --raw -p x -s Brief.", "--system"},
        {"run --raw -p x --think on", "--think"},
        {"run --raw -p x --april", "--april"},
        {"run hi --expert-cache off --expert-pack x", "--expert-pack"},
        {"tokenize --decode 1 -p x", "--decode"},
        {"tokenize --decode 1 -f x", "--decode"},
        {"tokenize --decode 1 --count", "--decode"},
        {"tokenize --decode 1 --json", "--decode"},
        {"tokenize --count --pieces -p x", "--pieces"},
    };
    for (const auto& [arguments, named] : cases) expect_usage(arguments, named);
    expect_error("run hi --expert-pack " + path("none"), path("none"));
    expect_error("run hi --expert-cache 50% --expert-pack " + path("none"), path("none"));
    ASSERT_EQ(run(fmt::format("convert --pack {} {}", test::kNanoPath, path("pack"))).status, 0);
    EXPECT_THAT(run("run hi -n 1 --expert-pack " + path("pack")).err, HasSubstr("is not used"));
}

TEST_F(Commands, MessagesSayOnlyWhatIsRead) {
    const auto answer = [&](const std::string& talk, const std::string& more = "") {
        std::ofstream(path("talk.json")) << talk;
        return run(fmt::format("run -n 40 --temp 0 --messages {} {}", path("talk.json"), more));
    };
    const std::string messages =
        R"("messages": [{"role": "user", "content": "What is the weather in Oslo?"}])";
    const std::string tools = R"([{"type": "function", "function": {"name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}])";
    for (const char* name : {"response_format", "tool_choice", "max_tokens", "model", "temperature", "x"}) {
        const auto o = answer(fmt::format(R"({{{}, "{}": 1}})", messages, name));
        EXPECT_EQ(o.status, 1) << name;
        EXPECT_THAT(o.err, HasSubstr(fmt::format("'{}' is not read", name)));
    }
    EXPECT_EQ(answer("{" + messages + "}").status, 0);
    EXPECT_THAT(answer("{" + messages + ", \"tools\": " + tools + "}").out, HasSubstr("get_weather"));
    std::ofstream(path("tools.json")) << tools;
    EXPECT_THAT(answer("{" + messages + ", \"tools\": " + tools + "}", "--tools " + path("tools.json")).err,
                HasSubstr("leave out --tools"));
}

// As the server refuses them.
TEST_F(Commands, ToolsOfWrongTypesAreNamed) {
    const std::pair<const char*, const char*> wrong[] = {
        {R"({"name": "look", "parameters": {"type": 7}})", ".parameters.type: expected a string"},
        {R"({"name": "look", "parameters": {"properties": ["a"]}})",
         ".parameters.properties: expected an object"},
        {R"({"name": "look", "parameters": {"required": "a"}})", ".parameters.required: expected an array"},
        {R"({"name": "look", "parameters": {"properties": {"a": {"enum": 1}}}})",
         ".parameters.properties.a.enum: "},
        {R"({"name": "lo\"ok"})", ".name: only letters, digits"},
        {R"({"name": "a b"})", ".name: only letters, digits"},
    };
    for (const auto& [function, problem] : wrong) {
        std::ofstream(path("tools.json")) << R"([{"type": "function", "function": )" << function << "}]";
        expect_error("run hi --tools " + path("tools.json"), std::string("tools.json[0].function") + problem);
    }
    std::ofstream(path("tools.json")) << R"([{"type": "computer_use"}])";
    expect_error("run hi --tools " + path("tools.json"),
                 "tools.json[0].type: 'computer_use' is not supported");
    for (const char* member : {"text", "parts", "images"}) {
        std::ofstream(path("talk.json")) << R"([{"role": "user", ")" << member << R"(": "x"}])";
        expect_error("run --messages " + path("talk.json"),
                     fmt::format("messages[0].{}: not supported", member));
    }
}

TEST_F(Commands, InputThatIsWrongIsSaidBeforeTheModelIsOpened) {
    std::ofstream(path("broken.json")) << "{";
    std::ofstream(path("empty")) << "";
    std::ofstream(path("model.gguf")) << "GGUF";
    const std::pair<const char*, const char*> wrong[] = {
        {"hi --tools {}/broken.json", "broken.json"},
        {"--messages {}/broken.json", "broken.json"},
        {"-f {}/empty", "a prompt is needed"},
        {"--raw -f {}/empty", "a prompt is needed"},
    };
    for (const auto& [input, named] : wrong)
        expect_error(fmt::format("run -m {} {}", path("model.gguf"),
                                 fmt::format(fmt::runtime(input), folder.path().string())),
                     named);
}

TEST_F(Commands, AnEmptyPromptIsNone) {
    for (const char* arguments :
         {"run", "run --raw", "run -f /dev/null", "run --raw -f /dev/null", "run -f -"})
        expect_error(arguments, "is empty; a prompt is needed");
    expect_usage("run -p ''", "empty");
}

TEST_F(Commands, FoldersOfTheCacheAreNamed) {
    std::ofstream(path("file")) << "x";
    for (const char* command : {"ls", "stat", "rm"}) {
        expect_error(fmt::format("cache {} --kv-dir {}", command, path("file")), "is no folder");
        expect_error(fmt::format("cache {} --kv-dir {}", command, path("none")), "does not exist");
        EXPECT_EQ(run(fmt::format("cache {}", command)).status, 0) << command;
    }
    EXPECT_FALSE(fs::exists(path("none")));
}

TEST_F(Commands, HelpThatCannotBeWrittenIsAnError) {
    for (const char* arguments : {"--help", "--version", "run --help", "cache stat --help"}) {
        const int status = std::system(
            fmt::format("'{}' {} >/dev/full 2>'{}'", CACHALOT_PROGRAM, arguments, path("err")).c_str());
        EXPECT_EQ(WEXITSTATUS(status), 1) << arguments;
        EXPECT_THAT(read_text_file(path("err")), HasSubstr("cannot write to standard output"));
    }
}

}  // namespace
}  // namespace cachalot
