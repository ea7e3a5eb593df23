// Where results go, and what is no model: refused before the work.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "cli/outputs.h"
#include "file/temporary_names.h"
#include "program.h"
#include "support/nano.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Outputs : public Commands {
  protected:
    // Every command that writes a file, {1}, made with {0}. None of the inputs exists: what is said about the
    // output is said before they are opened.
    static constexpr const char* kWriters[] = {
        "logits -m {0} --tokens 0,5 --out {1}",
        "perplexity -m {0} -p 'some words' --save-logits {1}",
        "imatrix -m {0} -f {0} -o {1}",
        "compare {0} {0} -p 'some words' --plot {1}",
        "compare {0} {0} -p 'some words' --save-logits {1}",
        "convert {0} {1}",
        "convert --pack {0} {1}",
        "synth {1} --like tiny",
        "cache-sim {0} --plot {1}",
        "run -m {0} -p x --profile {1}",
        "bench -m {0} --profile {1}",
        "run -m {0} -p x --route-trace {1}",
        "run -m {0} -p x --expert-cache 50% --expert-heat {1}",
        "eval -m {0} --state {1}",
    };
    void expect_refused(const std::string& output, const std::string& why) {
        for (const char* writer : kWriters) {
            const auto o = run(fmt::format(fmt::runtime(writer), path("no-input"), output));
            EXPECT_EQ(o.status, 1) << writer;
            EXPECT_THAT(o.err, HasSubstr(why)) << writer;
        }
    }
};

TEST_F(Outputs, AreCheckedBeforeAnythingIsRead) {
    fs::create_directory(path("folder"));
    expect_refused(path("folder"), "is a folder");
    std::ofstream(path("file")) << "x";
    expect_refused(path("file/x"), "Not a directory");
    for (const char* option : {"--profile", "--expert-cache 50% --expert-heat"})
        expect_error(fmt::format("run -p x {} {}", option, path("missing/x")),
                     "does not exist; make it first");
    EXPECT_FALSE(fs::exists(path("missing")));
    EXPECT_TRUE(fs::is_empty(path("folder")));
    expect_refused("/dev/full", "No space left on device");
}

// A place may fill up, or the other end of a pipe go away, while the work is done.
TEST_F(Outputs, FinishedWorkIsKeptWhereItsPlaceIsGone) {
    std::ofstream(path("text")) << "some words that are read";
    const auto o = run(fmt::format("imatrix -m {} -f {} -o /dev/stdout 2>{} | true; cat {}", test::kNanoPath,
                                   path("text"), path("err"), path("err")));
    const auto at = o.out.find("It is kept in ");
    ASSERT_NE(at, o.out.npos) << o.out;
    const auto begin = at + std::string_view("It is kept in ").size();
    const auto kept = o.out.substr(begin, o.out.find('\n', begin) - begin);
    EXPECT_EQ(run(fmt::format("imatrix --merge {}", kept)).status, 0) << kept;
    fs::remove(kept);
}

// Who is in a hurry presses the keys twice. The list of files is so long that the later signals come while it
// is worked through.
TEST_F(Outputs, UnfinishedFilesAreRemovedAlsoIfSignalsComeAgain) {
    std::ofstream(path("first")) << "x";
    std::ofstream(path("last")) << "x";
    const pid_t child = ::fork();
    if (child == 0) {
        for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_DFL);
        cli::remove_unfinished_files_on_signals();
        std::vector<std::string> names(20'000, path("none"));
        names.front() = path("first");
        names.back() = path("last");
        for (const auto& name : names) note_temporary_file(name);
        std::thread other([] {
            while (true) ::pause();
        });
        ::raise(SIGINT);
        ::_exit(1);
    }
    while (fs::exists(path("first"))) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (const int again : {SIGTERM, SIGHUP, SIGINT}) ::kill(child, again);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
    EXPECT_EQ(WTERMSIG(status), SIGINT);
    EXPECT_FALSE(fs::exists(path("last")));
}

TEST_F(Outputs, ABrokenPipeIsAnErrorOnlyWhileResultsAreSaved) {
    const auto action = [] {
        struct sigaction now = {};
        sigaction(SIGPIPE, nullptr, &now);
        return now.sa_handler;
    };
    const auto before = action();
    auto meanwhile = before;
    cli::save_or_keep(path("x"), [&](const std::string&) { meanwhile = action(); });
    EXPECT_EQ(meanwhile, SIG_IGN);
    EXPECT_EQ(action(), before);
    EXPECT_THROW(cli::save_or_keep(path("x"), [](const std::string&) { fail("no room"); }), Error);
    EXPECT_EQ(action(), before);
}

// Each command line writes {1} with a model {0}, which has its files, and other inputs, in the same folder
// {2}.
TEST_F(Outputs, NothingThatACommandReadsIsReplaced) {
    ASSERT_EQ(run(fmt::format("synth {} --release --like tiny", path("release"))).status, 0);
    fs::copy_file(test::kNanoPath, path("m.gguf"));
    fs::copy_file(test::kNanoPath, path("part-00002-of-00002.gguf"));
    fs::create_hard_link(path("m.gguf"), path("linked.gguf"));
    fs::create_symlink("m.gguf", path("link.gguf"));
    std::ofstream(path("m.experts.pack")) << "x";
    for (const char* name : {"t.txt", "tools.json", "talk.json", "imp.gguf", "keys", "script"})
        std::ofstream(path(name)) << "[]";
    const std::vector<std::pair<const char*, std::vector<const char*>>> cases = {
        {"run -m {0}/m.gguf -p x --profile {0}/{1}",
         {"m.gguf", "link.gguf", "linked.gguf", "./m.gguf", "m.experts.pack"}},
        {"run -m {0}/m.gguf -f {0}/t.txt --profile {0}/{1}", {"t.txt", "release/../t.txt"}},
        {"run -m {0}/m.gguf --tools {0}/tools.json hi --route-trace {0}/{1}", {"tools.json"}},
        {"run -m {0}/m.gguf --messages {0}/talk.json --expert-heat {0}/{1}", {"talk.json"}},
        {"run -m {0}/m.gguf hi --expert-cache 50% --expert-pack {0}/t.txt --profile {0}/{1}", {"t.txt"}},
        {"run -m {0}/release hi --profile {0}/release/{1}",
         {"tokenizer.json", "config.json", "model-00001-of-00001.safetensors",
          "model.safetensors.index.json"}},
        {"logits -m {0}/release --tokens 1,2 --out {0}/release/{1}", {"config.json", "tokenizer.json"}},
        {"logits -m {0}/part-00001-of-00002.gguf --tokens 1 --out {0}/{1}", {"part-00002-of-00002.gguf"}},
        {"bench -m {0}/m.gguf --profile {0}/{1}", {"m.gguf"}},
        {"perplexity -m {0}/m.gguf -f {0}/t.txt --save-logits {0}/{1}", {"m.gguf", "t.txt"}},
        {"perplexity -m {0}/m.gguf -f {0}/t.txt --route-trace {0}/{1}", {"m.gguf", "t.txt"}},
        {"compare {0}/m.gguf {0}/release -f {0}/t.txt --plot {0}/{1}",
         {"m.gguf", "t.txt", "release/config.json"}},
        {"eval -m {0}/m.gguf --state {0}/{1}", {"m.gguf"}},
        {"imatrix -m {0}/m.gguf -f {0}/t.txt --force -o {0}/{1}", {"m.gguf", "t.txt"}},
        {"cache-sim {0}/t.txt --plot {0}/{1}", {"t.txt"}},
        {"convert {0}/m.gguf {0}/{1} --force", {"m.gguf", "linked.gguf"}},
        {"convert {0}/m.gguf {0}/{1} --imatrix {0}/imp.gguf --force", {"imp.gguf"}},
        {"convert {0}/release {0}/release/{1} --force", {"model-00001-of-00001.safetensors", "config.json"}},
        {"convert --pack {0}/m.gguf {0}/{1} --force", {"m.gguf"}},
        {"serve -m {0}/m.gguf --port 0 --audit-log {0}/{1}", {"m.gguf", "link.gguf", "m.experts.pack"}},
        {"serve -m {0}/m.gguf --port 0 --api-key-file {0}/keys --audit-log {0}/{1}", {"keys"}},
        {"serve --scripted {0}/script --port 0 --audit-log {0}/{1}", {"script"}},
    };
    for (const auto& [arguments, outputs] : cases)
        for (const char* output : outputs) {
            const std::string file = path(std::string(arguments).find("release/{1}") == std::string::npos
                                              ? output
                                              : std::string("release/") + output);
            const auto stamp = [&] { return std::pair(fs::file_size(file), fs::last_write_time(file)); };
            const auto before = stamp();
            expect_error(fmt::format(fmt::runtime(arguments), folder.path().string(), output),
                         "is read by this command, and would be replaced");
            EXPECT_TRUE(stamp() == before) << arguments;
        }
}

TEST_F(Outputs, TwoDoNotGoToOneFile) {
    std::ofstream(path("there")) << "x";
    for (const char* arguments :
         {"run hi --route-trace {0}/x --profile {0}/x", "run hi --route-trace {0}/x --profile {0}/./x",
          "run hi --expert-cache 50% --expert-heat {0}/there --profile {0}/there",
          "perplexity -p 'some words' --save-logits {0}/x --route-trace {0}/x",
          "serve --port 0 --route-trace {0}/x --audit-log {0}/x"})
        expect_error(fmt::format(fmt::runtime(arguments), folder.path().string()), "two outputs");
    EXPECT_EQ(read_text_file(path("there")), "x");
    EXPECT_FALSE(fs::exists(path("x")));
    EXPECT_EQ(run("run hi -n 1 --route-trace /dev/null --profile /dev/null").status, 0);
}

TEST_F(Outputs, ChatSavesOverNothingButConversations) {
    fs::copy_file(test::kNanoPath, path("m.gguf"));
    const auto chat = [&](const std::string& options, const std::string& file) {
        return run(fmt::format("chat -m {} -n 2 --temp 0 {}", path("m.gguf"), options),
                   fmt::format("hi\n/save {}\n/bye\n", path(file)));
    };
    EXPECT_THAT(chat("", "m.gguf").err, HasSubstr("is read by this command, and would be replaced"));
    EXPECT_EQ(fs::file_size(path("m.gguf")), fs::file_size(test::kNanoPath));
    EXPECT_THAT(chat("--route-trace " + path("routes"), "routes").err, HasSubstr("two outputs"));
    for (const char* text : {"notes", "{}", "{\"a\": 1}", "[1]", "[{\"x\": 1}]", "\"role\"", "GGUF", "",
                             "{\"messages\": [], \"max_tokens\": 1}", "null"}) {
        std::ofstream(path("file")) << text;
        const auto o = chat("", "file");
        EXPECT_THAT(o.err, HasSubstr("is no conversation, so it is not replaced; name another file")) << text;
        EXPECT_EQ(read_text_file(path("file")), text);
    }
    for (int round = 0; round < 2; ++round) {
        EXPECT_THAT(chat(round ? "--load " + path("talk") : "", "talk").err, HasSubstr("messages written"));
        EXPECT_THAT(read_text_file(path("talk")), HasSubstr("hi"));
    }
}

TEST_F(Outputs, StreamsAndLinksStayWhatTheyAre) {
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
    fs::create_symlink("real", path("link"));
    const auto reading = fmt::format("timeout 60 cat '{}' >'{}'", path("fifo"), path("read"));
    std::thread reader([&] { EXPECT_EQ(std::system(reading.c_str()), 0); });
    EXPECT_EQ(run(fmt::format("logits --tokens 0,5 --out {}", path("fifo"))).status, 0);
    reader.join();
    EXPECT_EQ(run(fmt::format("logits --tokens 0,5 --out {}", path("link"))).status, 0);
    const auto o = run("logits --tokens 0,5 --out /dev/stdout");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_TRUE(fs::is_fifo(path("fifo")));
    EXPECT_TRUE(fs::is_symlink(path("link")));
    const auto read = read_text_file(path("read"));
    EXPECT_FALSE(read.empty());
    EXPECT_EQ(read, read_text_file(path("real")));
    EXPECT_EQ(read, o.out);
}

TEST_F(Outputs, AReleaseGoesIntoAFolderWithASlash) {
    ASSERT_EQ(run(fmt::format("synth {}/ --release --like tiny", path("slice"))).status, 0);
    ASSERT_EQ(run(fmt::format("convert {}/ {} --dense f8_e4m3", path("slice"), path("m.gguf"))).status, 0);
    const auto o = run(fmt::format("convert {} {}/ --to release", path("m.gguf"), path("again")));
    EXPECT_EQ(o.status, 0) << o.err;
    for (const auto& entry : fs::directory_iterator(path("slice")))
        EXPECT_EQ(read_text_file(path("again/" + entry.path().filename().string())),
                  read_text_file(entry.path()));
    EXPECT_FALSE(fs::exists(path("again.partial")));
    expect_error(fmt::format("convert {} {} --to release", path("m.gguf"), path("again")), "something in it");
    expect_error(fmt::format("convert {} {}", path("m.gguf"), path("again")), "is a folder");
}

TEST_F(Outputs, WhatIsNoModelIsNamed) {
    auto put = [&](const char* name, const std::string& bytes) { std::ofstream(path(name)) << bytes; };
    auto gguf = [](std::initializer_list<std::pair<std::string, std::string>> pairs) {
        auto number = [](std::uint64_t n, int size) {
            return std::string(reinterpret_cast<const char*>(&n), static_cast<std::size_t>(size));
        };
        std::string bytes = "GGUF" + number(3, 4) + number(0, 8) + number(pairs.size(), 8);
        for (const auto& [key, value] : pairs)
            bytes += number(key.size(), 8) + key + number(8, 4) + number(value.size(), 8) + value;
        bytes.resize((bytes.size() + 31) / 32 * 32);
        return bytes;
    };
    put("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n");
    put("page", "<!DOCTYPE HTML>\n<html>");
    put("imatrix", gguf({{"general.type", "imatrix"}}));
    put("adapter", gguf({{"general.architecture", "deepseek4"}, {"general.type", "adapter"}}));
    put("mmproj", gguf({{"general.architecture", "clip"}}));
    put("draft", gguf({{"general.architecture", "deepseek4-dspark"}}));
    put("vocab", gguf({{"general.architecture", "deepseek4"}, {"general.type", "vocab"}}));
    put("empty", "");
    const std::pair<const char*, const char*> cases[] = {
        {"pointer", "git lfs pull"}, {"page", "web page"},    {"imatrix", "importance matrix"},
        {"adapter", "LoRA"},         {"mmproj", "projector"}, {"draft", "speculative decoding"},
        {"vocab", "vocabulary"},     {"empty", "is empty"},
    };
    for (const auto& [name, named] : cases) expect_error(fmt::format("run -m {} -p x", path(name)), named);
}

// What a folder is instead of a release, by the names of its files; "LINK" is a link to nothing.
TEST_F(Outputs, FoldersThatAreNoReleaseAreNamed) {
    const std::string config = R"({"model_type": "deepseek_v4"})", other = R"({"model_type": "deepseek_v3"})",
                      llama = R"({"architectures": ["LlamaForCausalLM"]})",
                      pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    using Files = std::vector<std::pair<const char*, std::string>>;
    const std::pair<Files, const char*> cases[] = {
        {{}, "is an empty folder"},
        {{{"notes.txt", "x"}}, "is a folder without a model"},
        {{{"adapter_config.json", "{}"}, {"adapter_model.safetensors", "x"}}, "an adapter (LoRA)"},
        {{{"config.json", llama}, {"pytorch_model.bin", "x"}}, "weights of PyTorch (pytorch_model.bin)"},
        {{{"consolidated.00.pth", "x"}}, "weights of PyTorch"},
        {{{"a-Q4.gguf", "x"}, {"README.md", "x"}}, "/a-Q4.gguf"},
        {{{"b.gguf", "x"}, {"a.gguf", "x"}, {"config.json", config}}, "/a.gguf, or another one"},
        {{{"config.json", config}, {"tokenizer.json", "{}"}}, "no weights"},
        {{{"model-00001-of-00002.safetensors", "x"}}, "no config.json"},
        {{{"model.safetensors", "x"}}, "no config.json"},
        {{{"model-00001-of-00002.safetensors", "x"}, {"config.json", config}},
         "model.safetensors.index.json"},
        {{{"model.safetensors", "x"}, {"config.json", "LINK"}}, "is a link to nowhere, which does not exist"},
        {{{"model.safetensors", "x"}, {"config.json", other}}, "'deepseek_v3' is not supported"},
        {{{"model.safetensors", "x"}, {"config.json", llama}}, "'LlamaForCausalLM' is not supported"},
        {{{"model.safetensors", "x"}, {"config.json", pointer}}, "config.json: is no JSON: it is a pointer"},
        {{{"model.safetensors", pointer}, {"config.json", config}}, "pointer of Git LFS"},
        {{{"model.safetensors", "x"}, {"config.json", "{\n oops"}}, "is no JSON at line 2, column 2"},
    };
    for (const auto& [files, named] : cases) {
        const fs::path place = path("folder");
        fs::remove_all(place);
        fs::create_directory(place);
        for (const auto& [name, text] : files)
            if (text == "LINK")
                fs::create_symlink("nowhere", place / name);
            else
                std::ofstream(place / name) << text;
        for (const char* command : {"run hi -m", "tokenize -p x -m", "plan -m"})
            expect_error(fmt::format("{} {}", command, place.string()), named);
    }
}

TEST_F(Outputs, DamagedFilesOfAReleaseAreNamed) {
    const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    ASSERT_EQ(run(fmt::format("synth {} --release --like tiny", path("whole"))).status, 0);
    for (const char* name : {"config.json", "tokenizer.json", "model.safetensors.index.json"})
        for (const auto& [text, named] : {std::pair<std::string, const char*>{pointer, "git lfs pull"},
                                          {"{\"a\": 1,\n}", "is no JSON at line 2, column 1"},
                                          {"", "is empty"},
                                          {"<html>", "web page"}}) {
            fs::remove_all(path("release"));
            fs::copy(path("whole"), path("release"));
            std::ofstream(path(std::string("release/") + name)) << text;
            expect_error(fmt::format("run hi -m {}", path("release")), named);
            EXPECT_THAT(run(fmt::format("run hi -m {}", path("release"))).err, HasSubstr(name));
        }
}

TEST_F(Outputs, WhatIsNoneOfOurFilesIsNamed) {
    std::ofstream(path("text.txt")) << "some text\nand more\n";
    std::ofstream(path("talk.json")) << "{\"a\": 1}\n";
    for (const char* name : {"text.txt", "talk.json"}) {
        const auto file = path(name);
        const auto before = read_text_file(file);
        expect_error("eval --items 1 --state " + file, "exists and is not a state of eval");
        expect_error("eval --items 1 --against " + file, "is not a state of eval");
        expect_error(fmt::format("convert {} {} --imatrix {}", test::kNanoPath, path("out"), file),
                     "is no importance matrix");
        expect_error(fmt::format("compare {} --baseline {}", test::kNanoPath, file), "is no baseline");
        EXPECT_EQ(read_text_file(file), before);
    }
    expect_error("run --messages " + path("text.txt"), "text.txt: is no JSON at line 1, column 1");
    expect_error("run hi --tools " + path("text.txt"), "text.txt: is no JSON at line 1, column 1");
    expect_error("chat --load " + path("text.txt"), "text.txt: is no JSON at line 1, column 1");
}

TEST_F(Outputs, CompareLooksAtBothModelsFirst) {
    std::ofstream(path("words.txt")) << std::string(200'000, 'x');  // takes long to evaluate
    std::ofstream(path("text.gguf")) << "text";
    ASSERT_EQ(run(fmt::format("synth {} --like tiny --vocab 600", path("other.gguf"))).status, 0);
    for (const auto& [name, named] : {std::pair{"none.gguf", "none.gguf"},
                                      {"text.gguf", "not a GGUF file"},
                                      {"other.gguf", "different vocabularies"}}) {
        const auto arguments = fmt::format("compare {} {} -f {} --save-logits {}", test::kNanoPath,
                                           path(name), path("words.txt"), path("saved"));
        expect_error(arguments, named);
        EXPECT_FALSE(fs::exists(path("saved")));
    }
}

// A limit on the size of files stands for a full disk.
TEST_F(Outputs, AFullDiskIsNoticedEarlyAndNothingIsLeft) {
    ASSERT_EQ(run(fmt::format("synth {} --release --like tiny", path("slice"))).status, 0);
    ASSERT_EQ(run(fmt::format("convert {} {} --dense f8_e4m3", path("slice"), path("m.gguf"))).status, 0);
    std::ofstream(path("words.txt")) << std::string(20'000, 'x');
    fs::create_directories(path("cache"));
    const auto limited = [&](const std::string& arguments, int blocks) {
        std::ofstream(path("script")) << fmt::format(
            "export XDG_CACHE_HOME='{}'\ntrap '' XFSZ\nulimit -f {}\nexec '{}' {}\n", path("cache"), blocks,
            CACHALOT_PROGRAM, fmt::format(fmt::runtime(arguments), folder.path().string()));
        const auto before = std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator());
        FILE* pipe = ::popen(fmt::format("sh '{}' 2>&1 </dev/null", path("script")).c_str(), "r");
        std::string said;
        for (int c; (c = std::fgetc(pipe)) != EOF;) said += static_cast<char>(c);
        EXPECT_EQ(WEXITSTATUS(::pclose(pipe)), 1) << arguments << said;
        EXPECT_THAT(said, HasSubstr("File too large")) << arguments;
        EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), before)
            << arguments;
    };
    limited("imatrix -f {0}/words.txt -o {0}/new.imatrix", 1);
    limited("run hi -n 1 --route-trace {0}/new.route", 0);
    limited("eval --items 1 --state {0}/new.eval", 0);
    limited("run hi -n 1 --profile {0}/new.json", 0);
    limited("convert {0}/m.gguf {0}/new --to release", 0);
    limited("synth {0}/new --like tiny --release", 0);
    limited("synth {0}/new --like tiny --release", 8);
}

TEST_F(Outputs, PlotsNameTheirFilesAndShowWhatCoincides) {
    fs::copy_file(test::kNanoPath, path("original.gguf"));
    fs::copy_file(test::kNanoPath, path("copy.gguf"));
    const auto o = run(fmt::format("compare {} {} -p 'The sea is salt, and the land is not.' --plot {}",
                                   path("original.gguf"), path("copy.gguf"), path("plot.svg")));
    ASSERT_EQ(o.status, 0) << o.err;
    const auto svg = read_text_file(path("plot.svg"));
    EXPECT_THAT(svg, HasSubstr("nll of original.gguf"));
    EXPECT_THAT(svg, HasSubstr("nll of copy.gguf"));
    EXPECT_THAT(svg, HasSubstr("stroke-dasharray=\"7 7\" stroke-dashoffset=\"0\""));
    EXPECT_THAT(svg, HasSubstr("stroke-dasharray=\"7 7\" stroke-dashoffset=\"7\""));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace cachalot
