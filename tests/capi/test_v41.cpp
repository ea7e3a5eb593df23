// Options of the C API that are for V4.1.
#include <nlohmann/json.hpp>

#include "capi/library.h"
#include "cli/program.h"

namespace cachalot::test {
namespace {

using testing::HasSubstr;

const std::string kNano41 = CACHALOT_MODELS "/nano41/nano41.gguf";

EngineHandle open_model(const std::string& path, const cachalot_options& options) {
    cachalot_engine* engine = nullptr;
    cachalot_error error{};
    EXPECT_EQ(cachalot_open(path.c_str(), &options, &engine, &error), CACHALOT_OK) << error.message;
    return {engine, cachalot_close};
}

std::string refusal(const std::string& path, cachalot_status status,
                    const std::function<void(cachalot_options&)>& set) {
    auto options = engine_options();
    set(options);
    cachalot_engine* engine = nullptr;
    cachalot_error error{};
    EXPECT_EQ(cachalot_open(path.c_str(), &options, &engine, &error), status) << error.message;
    EXPECT_EQ(engine, nullptr);
    return error.message;
}

class CapiV41 : public Commands {
  protected:
    // What the most probable continuation of `text` is with a model that is opened with these options.
    static std::string continued(const std::string& path, const cachalot_options& options,
                                 const std::string& text) {
        const auto engine = open_model(path, options);
        auto request = request_options();
        request.text = text.data();
        request.text_size = text.size();
        request.max_tokens = 16;
        return answer(engine.get(), request).content;
    }
    // What the program writes.
    std::string said(const std::string& arguments, const std::string& text) {
        const auto o = run(
            fmt::format("run -m '{}' -t 2 --json --raw --temp 0 -n 16 {} -p '{}'", kNano41, arguments, text));
        EXPECT_EQ(o.status, 0) << o.err;
        return nlohmann::json::parse(o.out)["text"];
    }
    // Longer than the window of nano41, so that what is left out of a prompt shows.
    static std::string long_text() {
        std::string text;
        for (int i = 0; i < 40; ++i)
            text += fmt::format("The {} whale swam to the {} island. ", i % 3 ? "old" : "white", i * 7);
        return text + "Then the captain";
    }
};

TEST_F(CapiV41, OptionsAreNamed) {
    for (const char* size : {"12GX", "", "0", "-1GB", "200%", "x%"})
        EXPECT_THAT(refusal(kNano41, CACHALOT_INVALID, [&](auto& o) { o.engram_cache = size; }),
                    HasSubstr("options.engram_cache"))
            << size;
    for (const char* tokens : {"", "0", "-1", "1.5", "none", "4kk", "99999999999"})
        EXPECT_THAT(refusal(kNano41, CACHALOT_INVALID, [&](auto& o) { o.decoder_prefill = tokens; }),
                    HasSubstr("options.decoder_prefill: "))
            << tokens;
    EXPECT_THAT(refusal(kNano41, CACHALOT_INVALID, [](auto& o) { o.engram = ""; }),
                HasSubstr("options.engram is empty"));
}

// In range, but nothing for the model.
TEST_F(CapiV41, OptionsThatDoNotSuitTheModelAreRefused) {
    EXPECT_THAT(refusal(kNano41, CACHALOT_FAILED, [](auto& o) { o.engram_cache = "1"; }),
                HasSubstr("not a single row"));
    EXPECT_THAT(refusal(kNano41, CACHALOT_FAILED, [](auto& o) { o.engram = kNano41.c_str(); }),
                HasSubstr("has its Engram tables itself"));
    EXPECT_THAT(refusal(kNano, CACHALOT_FAILED, [](auto& o) { o.engram_cache = "1%"; }), HasSubstr("none"));
    EXPECT_THAT(refusal(kNano, CACHALOT_FAILED, [](auto& o) { o.engram = kNano41.c_str(); }),
                HasSubstr("has no use for Engram tables"));
    EXPECT_THAT(refusal(kNano, CACHALOT_FAILED, [](auto& o) { o.decoder_prefill = "8"; }),
                HasSubstr("none can be left out"));
}

TEST_F(CapiV41, LastTokensOfPromptsAreThoseOfTheProgram) {
    const std::string text = long_text();
    const auto with = [&](const char* tokens) {
        auto options = engine_options();
        options.decoder_prefill = tokens;
        return continued(kNano41, options, text);
    };
    const auto exact = with("exact"), few = with("1");
    EXPECT_EQ(exact, said("--decoder-prefill exact", text));
    EXPECT_EQ(few, said("--decoder-prefill 1", text));
    EXPECT_NE(few, exact);
    EXPECT_EQ(with("4k"), exact);
    EXPECT_EQ(with(nullptr), with("140"));
}

TEST_F(CapiV41, CachesOfRowsChangeNoAnswer) {
    const std::string text = long_text();
    const auto with = [&](const char* size) {
        auto options = engine_options();
        options.engram_cache = size;
        return continued(kNano41, options, text);
    };
    const auto expected = with("all");
    for (const char* size : {"off", "1%", "200kB", "auto"}) EXPECT_EQ(with(size), expected) << size;
}

TEST_F(CapiV41, TablesMayBeInAFileOfTheirOwn) {
    const std::string release = CACHALOT_TEST_DATA "/tiny41", model = path("model.gguf"),
                      tables = path("tables.gguf");
    ASSERT_EQ(run(fmt::format("convert '{}' {} --engram-output {}", release, model, tables)).status, 0);
    EXPECT_THAT(refusal(model, CACHALOT_FAILED, [](auto&) {}), HasSubstr("blk.0.engram_embd.weight"));
    EXPECT_THAT(refusal(model, CACHALOT_FAILED, [](auto& o) { o.engram = "/nowhere/tables.gguf"; }),
                HasSubstr("/nowhere/tables.gguf"));
    auto options = engine_options();
    const auto expected = continued(release, options, "Once upon a time");
    options.engram = tables.c_str();
    EXPECT_EQ(continued(model, options, "Once upon a time"), expected);
    options.engram_cache = "10%";
    EXPECT_EQ(continued(model, options, "Once upon a time"), expected);
}

}  // namespace
}  // namespace cachalot::test
