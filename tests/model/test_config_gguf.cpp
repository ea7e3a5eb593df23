#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <utility>

#include "file/gguf.h"
#include "file/gguf_writer.h"
#include "file/support.h"
#include "model/config.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

Config load(const std::string& name) {
    const auto path = std::filesystem::path(CACHALOT_TEST_DATA) / "config" / (name + ".json");
    return config_from_json(read_file(path), name + "/config.json");
}

using Change = std::function<void(GgufWriter&)>;

class ConfigGguf : public testing::Test {
  protected:
    // The keys of a model without `drop`, then changed; read back.
    Config read(const std::string& model, const Change& change = {}, const std::string& drop = "") {
        return config_from_gguf(file(model, change, drop));
    }
    std::string refused(const Change& change, const std::string& drop = "") {
        return error_of([&] { read("flash", change, drop); });
    }

    Gguf file(const std::string& model, const Change& change, const std::string& drop) {
        if (whole_.count(model) == 0) {
            GgufWriter writer(dir_ / model);
            write_config(load(model), writer);
            writer.finish();
            whole_.emplace(model, dir_ / model);
        }
        GgufWriter writer(dir_ / "m.gguf");
        for (const GgufValue& value : whole_.at(model).metadata().values())
            if (value.key != drop) writer.copy(value);
        if (change) change(writer);
        writer.finish();
        return Gguf(dir_ / "m.gguf");
    }

    TempDir dir_;
    std::map<std::string, Gguf> whole_;
};

TEST_F(ConfigGguf, RoundTripsEveryField) {
    for (const char* model : {"flash", "pro", "nano"}) EXPECT_EQ(read(model), load(model)) << model;
}

TEST_F(ConfigGguf, RoundTripsV41) {
    for (const char* model : {"nano41", "tiny41", "v41-flash"}) EXPECT_EQ(read(model), load(model)) << model;
}

// Files of llama.cpp's converter name neither sources nor candidates.
TEST_F(ConfigGguf, SourcesOfV41ShowInTheTensors) {
    Config expected = load("v41-flash");
    const std::string a = "deepseek41.attention.";
    GgufWriter writer(dir_ / "theirs.gguf");
    write_config(expected, writer);
    for (const char* key : {"kv_source_layers", "index_source_layers", "candidate_source_layer",
                            "candidate_topk_blocks", "candidate_block_size"})
        writer.remove(a + key);
    writer.remove("deepseek41.engram.pad_token_id");
    writer.remove("deepseek41.engram.compressed_vocab_size");
    writer.set<std::uint32_t>("deepseek41.engram.pad_id", 2);
    const std::vector<float> values(32);
    std::vector<std::string> names;
    for (int l = 0; l < 40; ++l) {
        if (expected.shape(l).kv_source == l)
            names.push_back(fmt::format("blk.{}.attn_compressor_kv.weight", l));
        if (expected.shape(l).indexer) names.push_back(fmt::format("blk.{}.indexer.attn_q_b.weight", l));
    }
    for (const auto& name : names) writer.declare(name, DType::f32, {32});
    for (const auto& name : names) writer.append(name, std::as_bytes(std::span(values)));
    writer.finish();
    expected.engram.classes = 0;
    EXPECT_EQ(config_from_gguf(Gguf(dir_ / "theirs.gguf")), expected);
}

TEST_F(ConfigGguf, EngramOfV41ThatCannotBe) {
    const auto with = [&](const std::string& key, std::vector<std::uint64_t> values) {
        return error_of([&] {
            read("tiny41",
                 [&](GgufWriter& w) { w.set_array<std::uint64_t>("deepseek41.engram." + key, values); });
        });
    };
    EXPECT_THAT(with("primes", {503, 509}),
                HasSubstr("'deepseek41.engram.primes' has 2 entries, expected 12"));
    std::vector<std::uint64_t> primes;
    for (const auto p : load("tiny41").engram.primes) primes.push_back(static_cast<std::uint64_t>(p));
    std::swap(primes[0], primes[1]);
    EXPECT_THAT(with("primes", primes), HasSubstr("not ascending"));
    std::swap(primes[0], primes[1]);
    primes[0] += 1;
    EXPECT_THAT(with("primes", primes), HasSubstr("504 of Engram is no prime"));
    EXPECT_THAT(with("multipliers", {1, 2, 3, 5, 7, 9}), HasSubstr("multiplier 2 of Engram"));
    EXPECT_THAT(with("multipliers", {1, 3}),
                HasSubstr("'deepseek41.engram.multipliers' has 2 entries, expected 6"));
    EXPECT_THAT(with("primes", {}), HasSubstr("has 0 entries"));
}

TEST_F(ConfigGguf, WritesWhatOtherEnginesRead) {
    const Gguf flash = file("flash", {}, "");
    const auto& m = flash.metadata();
    const auto text = [&](const std::string& key) {
        const GgufValue* value = m.value(key);
        return value ? type_text(*value) + " " + value_text(*value, 4) : "absent";
    };
    EXPECT_EQ(text("general.architecture"), "str 'deepseek4'");
    EXPECT_EQ(text("deepseek4.block_count"), "u32 43");
    EXPECT_EQ(text("deepseek4.embedding_length_out"), "u32 16384");
    EXPECT_EQ(text("deepseek4.attention.head_count_kv"), "u32 1");
    EXPECT_EQ(text("deepseek4.attention.value_length"), "u32 512");
    EXPECT_EQ(text("deepseek4.attention.compress_ratios"), "i32[43] [0, 0, 4, 128, ...]");
    EXPECT_EQ(text("deepseek4.attention.compress_rope_freq_base"), "f32 160000");
    EXPECT_EQ(text("deepseek4.hyper_connection.count"), "u32 4");
    EXPECT_EQ(text("deepseek4.expert_gating_func"), "u32 4");
    EXPECT_EQ(text("deepseek4.expert_weights_norm"), "bool true");
    EXPECT_EQ(text("deepseek4.swiglu_clamp_exp"), "f32[43] [10, 10, 10, 10, ...]");
    EXPECT_EQ(text("deepseek4.rope.scaling.type"), "str 'yarn'");
    EXPECT_EQ(text("tokenizer.ggml.eos_token_id"), "u32 1");
}

TEST_F(ConfigGguf, WhatFilesLeaveOut) {
    const Config flash = load("flash");
    for (const char* key :
         {"deepseek4.swiglu_clamp_shexp", "deepseek4.expert_gating_func", "deepseek4.embedding_length_out",
          "deepseek4.rope.freq_base", "deepseek4.rope.scaling.type", "deepseek4.rope.scaling.yarn_beta_fast",
          "deepseek4.rope.scaling.yarn_beta_slow", "deepseek4.rope.scaling.original_context_length",
          "deepseek4.attention.head_count_kv", "deepseek4.attention.value_length",
          "deepseek4.expert_weights_norm", "deepseek4.hyper_connection.count", "tokenizer.ggml.bos_token_id",
          "tokenizer.ggml.eos_token_id"})
        EXPECT_EQ(read("flash", {}, key), flash) << key;
    EXPECT_EQ(read("flash", {}, "deepseek4.rope.scaling.factor").rope.yarn_factor, 1);
    EXPECT_EQ(read("flash", {}, "general.name").name, "");
}

TEST_F(ConfigGguf, EveryOtherKeyIsNeeded) {
    const Gguf whole = file("flash", {}, "");
    int needed = 0;
    for (const GgufValue& value : whole.metadata().values()) {
        try {
            read("flash", {}, value.key);
        } catch (const Error& error) {
            EXPECT_THAT(error.what(),
                        AllOf(HasSubstr("m.gguf:"), HasSubstr(value.key), HasSubstr("missing")));
            ++needed;
        }
    }
    EXPECT_EQ(needed, 27);
}

TEST_F(ConfigGguf, LayersBeyondTheMainOnes) {
    const Config flash = load("flash");
    std::vector<std::int32_t> ratios(44, 0);
    for (int l = 0; l < 43; ++l) ratios[static_cast<std::size_t>(l)] = flash.shape(l).ratio;
    // 44 ratios for 43 layers, and a prediction block that is announced but absent.
    EXPECT_EQ(read("flash",
                   [&](GgufWriter& w) {
                       w.set_array<std::int32_t>("deepseek4.attention.compress_ratios", ratios);
                       w.set<std::uint32_t>("deepseek4.nextn_predict_layers", 1);
                   }),
              flash);
    // The block is there and counted.
    EXPECT_EQ(read("flash",
                   [&](GgufWriter& w) {
                       w.set_array<std::int32_t>("deepseek4.attention.compress_ratios", ratios);
                       w.set_array<float>("deepseek4.swiglu_clamp_exp", std::vector<float>(44, 10.0f));
                       w.set<std::uint32_t>("deepseek4.block_count", 44);
                       w.set<std::uint32_t>("deepseek4.nextn_predict_layers", 1);
                       w.declare("blk.43.nextn.eh_proj.weight", DType::f32, {1});
                       w.append("blk.43.nextn.eh_proj.weight", bytes_of("abcd"));
                   }),
              flash);
    ratios.resize(42);
    EXPECT_THAT(refused([&](GgufWriter& w) {
                    w.set_array<std::int32_t>("deepseek4.attention.compress_ratios", ratios);
                }),
                HasSubstr("has 42 entries for 43 layers"));
}

TEST_F(ConfigGguf, SpellingsOfTheClamp) {
    const auto with = [&](const Change& change) {
        return read("flash", change, "deepseek4.swiglu_clamp_shexp");
    };
    EXPECT_THAT(with([](GgufWriter& w) { w.set<float>("deepseek4.swiglu_clamp_exp", 7.0f); }).swiglu_limit,
                AllOf(SizeIs(43), Each(7.0f)));
    const Config doubles = with([](GgufWriter& w) {
        w.set_array<double>("deepseek4.swiglu_clamp_exp", std::vector<double>(60, 8.0));
    });
    EXPECT_THAT(doubles.swiglu_limit, AllOf(SizeIs(43), Each(8.0f)));
    EXPECT_THAT(doubles.swiglu_limit_shared, AllOf(SizeIs(43), Each(8.0f)));
    EXPECT_THAT(read("flash", [](GgufWriter& w) { w.set<float>("deepseek4.swiglu_clamp_shexp", 9.0f); })
                    .swiglu_limit_shared,
                Each(9.0f));
}

TEST_F(ConfigGguf, VocabularyFromTheTokens) {
    const std::string key = "deepseek4.vocab_size";
    EXPECT_EQ(
        read(
            "nano",
            [](GgufWriter& w) { w.set_strings("tokenizer.ggml.tokens", std::vector<std::string>(500, "x")); },
            key)
            .vocab_size,
        500);
    EXPECT_THAT(refused([](GgufWriter& w) { w.set("tokenizer.ggml.tokens", "x"); }, key),
                HasSubstr("missing"));
}

TEST_F(ConfigGguf, OtherIntegerTypesWillDo) {
    EXPECT_EQ(read("flash",
                   [](GgufWriter& w) {
                       w.set<std::uint64_t>("deepseek4.rope.scaling.original_context_length", 65536);
                       w.set<std::int32_t>("deepseek4.block_count", 43);
                       w.set<std::uint16_t>("deepseek4.attention.head_count", 64);
                   }),
              load("flash"));
}

TEST_F(ConfigGguf, OtherArchitecturesAndMeanings) {
    const auto with_u32 = [&](const std::string& key, std::uint32_t value) {
        return refused([&](GgufWriter& w) { w.set<std::uint32_t>(key, value); });
    };
    EXPECT_THAT(refused([](GgufWriter& w) { w.set("general.architecture", "llama"); }),
                HasSubstr("'llama' is not supported"));
    EXPECT_THAT(refused({}, "general.architecture"), HasSubstr("'general.architecture' is missing"));
    EXPECT_THAT(with_u32("deepseek4.expert_gating_func", 2),
                HasSubstr("expert_gating_func' is 2, expected 4"));
    EXPECT_THAT(with_u32("deepseek4.hyper_connection.count", 2), HasSubstr("expected 4"));
    EXPECT_THAT(with_u32("deepseek4.attention.head_count_kv", 8), HasSubstr("expected 1"));
    EXPECT_THAT(with_u32("deepseek4.attention.value_length", 128), HasSubstr("is 128, expected 512"));
    EXPECT_THAT(with_u32("deepseek4.expert_group_count", 8), HasSubstr("expert groups"));
    EXPECT_THAT(refused([](GgufWriter& w) { w.set<bool>("deepseek4.expert_weights_norm", false); }),
                HasSubstr("expected true"));
    EXPECT_THAT(refused([](GgufWriter& w) { w.set("deepseek4.rope.scaling.type", "linear"); }),
                HasSubstr("expected 'yarn'"));
    EXPECT_THAT(refused([](GgufWriter& w) {
                    w.set_array<std::int32_t>("deepseek4.attention.compress_ratios",
                                              std::vector<std::int32_t>(43, 2));
                }),
                HasSubstr("holds 2, expected 0, 4 or 128"));
}

std::string encode(std::span<const GgufValue> values) {
    const auto text = [](std::string_view t) { return le<std::uint64_t>(t.size()) + std::string(t); };
    std::string bytes = "GGUF" + le(kGgufVersion) + le<std::uint64_t>(0) + le<std::uint64_t>(values.size());
    for (const GgufValue& value : values) {
        bytes += text(value.key);
        if (value.is_array) bytes += le(static_cast<std::uint32_t>(GgufType::array));
        bytes += le(static_cast<std::uint32_t>(value.type));
        if (value.is_array) bytes += le(value.count);
        bytes.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
    }
    return bytes;
}

// An error that names the file, or a configuration that is valid; never a crash.
TEST_F(ConfigGguf, AbsurdValues) {
    struct Absurd {
        const char* name;
        GgufType type;
        std::string bytes;
        std::uint64_t array = 0;  // elements, 0 for a single value
    };
    std::string nans;
    for (int i = 0; i < 8; ++i) nans += le(std::nanf(""));
    const std::vector<Absurd> absurd = {
        {"-1", GgufType::i32, le<std::int32_t>(-1)},
        {"2^31", GgufType::u32, le(1u << 31)},
        {"2^64-1", GgufType::u64, le(~std::uint64_t{0})},
        {"nan", GgufType::f32, le(std::nanf(""))},
        {"inf", GgufType::f64, le(HUGE_VAL)},
        {"1e300", GgufType::f64, le(1e300)},
        {"text", GgufType::string, le<std::uint64_t>(1) + "x"},
        {"true", GgufType::boolean, le<std::uint8_t>(1)},
        {"[nan]", GgufType::f32, nans, 8},
        {"[2^31]", GgufType::u32, le(1u << 31), 1},
    };
    const auto allowed = [](const std::string& key, std::string_view value) {
        if (key == "deepseek4.embedding_length_out") return true;  // for other engines
        if (key == "general.name") return value == "text";
        if (key == "deepseek4.expert_weights_norm") return value == "true";
        // Any positive number is a scale, a limit or a base.
        for (const char* part : {"_base", "epsilon", "weights_scale", "swiglu", "factor", "beta_fast"})
            if (value.starts_with("2^") && key.find(part) != key.npos) return true;
        return false;
    };
    const Gguf whole = file("nano", {}, "");
    const auto originals = whole.metadata().values();
    std::vector<GgufValue> values(originals.begin(), originals.end());
    for (std::size_t i = 0; i < values.size(); ++i) {
        for (const Absurd& bad : absurd) {
            values[i].type = bad.type;
            values[i].is_array = bad.array > 0;
            values[i].count = bad.array > 0 ? bad.array : 1;
            values[i].bytes = bytes_of(bad.bytes);
            const std::string bytes = encode(values);
            const auto action = [&] { config_from_gguf(Gguf::parse(bytes_of(bytes), "m.gguf")); };
            if (allowed(values[i].key, bad.name))
                EXPECT_NO_THROW(action()) << values[i].key << " " << bad.name;
            else
                EXPECT_THAT(error_of(action), StartsWith("m.gguf:")) << values[i].key << " " << bad.name;
        }
        values[i] = originals[i];
    }
}

}  // namespace
}  // namespace cachalot
