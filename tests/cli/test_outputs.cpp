// Where results go, and what is no model: refused before the work.
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "program.h"
#include "support/nano.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Outputs : public Commands {
  protected:
    // Every command that writes a file, {1}, made with {0}. None of the inputs exists: what is said about the output is
    // said before they are opened.
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
    EXPECT_TRUE(fs::is_empty(path("folder")));
}

TEST_F(Outputs, ModelsAreNotReplacedByWhatIsMadeWithThem) {
    fs::copy_file(test::kNanoPath, path("m.gguf"));
    for (const char* arguments : {"logits -m {0} --tokens 0,5 --out {0}", "convert --pack {0} {0} --force",
                                  "perplexity -m {0} -p 'some words' --save-logits {0}"})
        expect_error(fmt::format(fmt::runtime(arguments), path("m.gguf")), "would be replaced");
    EXPECT_EQ(fs::file_size(path("m.gguf")), fs::file_size(test::kNanoPath));
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
