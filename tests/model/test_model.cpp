// Loading and converting whole models: a release and the GGUF files made from it compute the same; damaged
// files are errors.
#include "model/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/engine.h"
#include "file/safetensors.h"
#include "file/support.h"
#include "file/text_file.h"
#include "model/convert.h"
#include "model/gguf_checkpoint.h"
#include "model/release_record.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using testing::HasSubstr;

class TinyModel : public testing::Test {
  protected:
    void SetUp() override {
        std::filesystem::create_directory(release);
        test::TinyRelease make(release);
    }

    static std::vector<float> logits(const std::filesystem::path& path,
                                     Precision precision = Precision::exact) {
        Engine engine(Model::load(path), {2, precision, KvPrecision::f32});
        auto state = engine.new_state();
        std::vector<std::int32_t> tokens;
        for (int i = 0; i < 150; ++i) tokens.push_back(i * 37 % 8192);
        auto result = engine.prefill(state, tokens);
        return {result.begin(), result.end()};
    }

    static std::string read_bytes(const std::filesystem::path& path) { return read_text_file(path); }

    test::TemporaryFolder folder;
    std::filesystem::path release = folder.path() / "release", gguf = folder.path() / "tiny.gguf";
};

TEST_F(TinyModel, ReleaseAndConvertedFileComputeTheSameBits) {
    auto from_release = logits(release);
    for (float v : from_release) ASSERT_TRUE(std::isfinite(v));
    auto summary = convert(*Checkpoint::open(release), gguf, {});
    EXPECT_EQ(summary.changed, 0);
    EXPECT_EQ(summary.bytes, std::filesystem::file_size(gguf));
    EXPECT_EQ(logits(gguf), from_release);
    EXPECT_EQ(logits(gguf, Precision::fast), logits(release, Precision::fast));
    // And once more from GGUF to GGUF: the same file.
    auto copy = folder.path() / "copy.gguf";
    convert(*Checkpoint::open(gguf), copy, {});
    EXPECT_EQ(read_bytes(copy), read_bytes(gguf));
}

TEST_F(TinyModel, ChosenTypesChangeTheLogitsLittle) {
    auto expected = logits(release);
    for (auto options : {TypeOptions{"", {}, DType::q8_0, DType::q8_0, {}},
                         TypeOptions{"", DType::bf16, DType::f16, DType::f32, {}},
                         TypeOptions{"", DType::q8_0, {}, {}, {}}}) {
        auto summary = convert(*Checkpoint::open(release), gguf, {.types = options});
        EXPECT_GT(summary.changed, 0);
        auto actual = logits(gguf);
        double error = 0, size = 0;
        for (std::size_t i = 0; i < expected.size(); ++i) {
            error += std::pow(expected[i] - actual[i], 2);
            size += std::pow(expected[i], 2);
        }
        EXPECT_LT(std::sqrt(error / size), 0.25);  // a router with random weights may choose another expert
        EXPECT_LE(summary.bytes, std::filesystem::file_size(gguf));
    }
    EXPECT_THROW(convert(*Checkpoint::open(release), gguf, {.types = {.experts = DType::i32}}), Error);
}

TEST_F(TinyModel, MetadataSurvivesConversion) {
    convert(*Checkpoint::open(release), gguf, {});
    auto a = Model::load(release), b = Model::load(gguf);
    Config from_release = a->config, from_gguf = b->config;
    from_gguf.name = from_release.name;
    EXPECT_EQ(from_release, from_gguf);
    EXPECT_EQ(a->tokenizer.data().tokens, b->tokenizer.data().tokens);
    EXPECT_EQ(a->tokenizer.data().merges, b->tokenizer.data().merges);
}

std::string load_error(const std::filesystem::path& path) {
    try {
        Model::load(path);
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

TEST_F(TinyModel, WhatIsMissingIsNamed) {
    EXPECT_THAT(load_error(folder.path() / "nothing.gguf"), HasSubstr("nothing.gguf"));
    EXPECT_THAT(load_error(folder.path()), HasSubstr(folder.path().filename().string()));
    std::filesystem::remove(release / "model-00002-of-00002.safetensors");
    EXPECT_THAT(load_error(release), HasSubstr("model-00002-of-00002.safetensors"));
}

TEST_F(TinyModel, AWrongTokenizerIsRefused) {
    auto config = test::tiny_config();
    config["vocab_size"] = 8000;
    std::ofstream(release / "config.json") << config;
    EXPECT_THAT(load_error(release), HasSubstr("8192"));
    std::ofstream(release / "config.json") << test::tiny_config();
    std::ofstream(release / "tokenizer.json") << "{}";
    EXPECT_THAT(load_error(release), HasSubstr("tokenizer.json"));
}

TEST_F(TinyModel, AHashTableThatNamesNoExpertIsRefused) {
    auto path = release / "model-00001-of-00002.safetensors";
    for (const char* file : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}) {
        path = release / file;
        std::string bytes = read_bytes(path);
        std::uint64_t header;
        std::memcpy(&header, bytes.data(), 8);
        auto json = nlohmann::json::parse(bytes.substr(8, header));
        if (!json.contains("layers.0.ffn.gate.tid2eid")) continue;
        std::size_t offset = json["layers.0.ffn.gate.tid2eid"]["data_offsets"][0];
        bytes[8 + header + offset] = 77;
        std::ofstream(path, std::ios::binary) << bytes;
        EXPECT_THAT(load_error(release), HasSubstr("there is no expert 77"));
        return;
    }
    FAIL();
}

// Damage anywhere: an error, or numbers that may be wrong. Never a crash (run under the sanitizers, this
// means more).
TEST_F(TinyModel, DamagedFilesAreErrorsOrWrongNumbers) {
    convert(*Checkpoint::open(release), gguf, {});
    const std::string good = read_bytes(gguf);
    auto bad = folder.path() / "bad.gguf";
    std::mt19937 random(5);
    int errors = 0, loaded = 0;
    for (int round = 0; round < 120; ++round) {
        std::string bytes = good;
        if (round % 4 == 0) {
            bytes.resize(random() % bytes.size());
        } else {
            // most of the file is the vocabulary; aim also at the keys in front and the directory behind it
            std::size_t region = round % 4 == 1 ? 3000 : bytes.size();
            for (int flips = 0; flips < 4; ++flips)
                bytes[random() % region] ^= static_cast<char>(1 << random() % 8);
        }
        std::ofstream(bad, std::ios::binary) << bytes;
        try {
            logits(bad, Precision::fast);
            ++loaded;
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), HasSubstr("bad.gguf"));
            EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
            ++errors;
        }
    }
    EXPECT_GT(errors, 30);
    EXPECT_GT(loaded, 10);
}

TEST(NanoModel, LoadingMapsAndDoesNotRead) {
    auto resident = [] {
        std::ifstream statm("/proc/self/statm");
        std::size_t total = 0, pages = 0;
        statm >> total >> pages;
        return pages * 4096;
    };
    if (resident() == 0) GTEST_SKIP() << "no /proc/self/statm";
    // A copy, since the system may have the file itself in pages that are so large that one byte brings two
    // megabytes.
    const TempDir folder;
    const auto copy = folder / "nano.gguf";
    std::filesystem::copy_file(std::string(CACHALOT_MODELS) + "/nano/nano.gguf", copy);
    auto before = resident();
    auto model = Model::load(copy.string());
    // 50 MB of weights; what is touched are small vectors and the tokenizer
    EXPECT_LT(resident() - before, std::size_t(24) << 20);
    EXPECT_EQ(model->config.layers, 8);
}

TEST(ShippedDrafter, FitsNano) {
    const std::filesystem::path nano = CACHALOT_MODELS "/nano/nano.gguf",
                                beside = CACHALOT_MODELS "/nano/nano-dspark.gguf";
    const auto model = Model::load(nano, {.drafter = beside});
    ASSERT_TRUE(model->draft);
    EXPECT_EQ(model->draft->kind, DrafterKind::dspark);
    EXPECT_THAT(model->draft->dspark.target_layers, testing::ElementsAre(5, 6, 7));
    EXPECT_THAT(model->draft->weights.layers, testing::SizeIs(3));
    const TempDir dir;
    write_release(GgufCheckpoint(beside), dir / "back");
    EXPECT_THAT(Safetensors(dir / "back").tensors(), testing::SizeIs(673));
}

}  // namespace
}  // namespace cachalot
