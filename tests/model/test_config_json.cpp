#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "file/support.h"
#include "model/config.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

json load(const std::string& name) {
    return json::parse(read_file(std::filesystem::path(CACHALOT_TEST_DATA) / "config" / (name + ".json")));
}

Config read(const json& text) { return config_from_json(text.dump(), "model/config.json"); }

std::string refused(const json& text) {
    return error_of([&] { read(text); });
}

std::string refused(const std::string& key, const json& value) {
    json text = load("flash");
    text[key] = value;
    return refused(text);
}

TEST(ConfigJson, Flash) {
    const Config c = read(load("flash"));
    EXPECT_EQ(c.name, "model");
    EXPECT_EQ(c.vocab_size, 129280);
    EXPECT_EQ(c.hidden_size, 4096);
    EXPECT_EQ(c.layers, 43);
    EXPECT_EQ(c.context_length, 1'048'576);
    EXPECT_EQ(c.heads, 64);
    EXPECT_EQ(c.head_dim, 512);
    EXPECT_EQ(c.rope_dim, 64);
    EXPECT_EQ(c.q_lora_rank, 1024);
    EXPECT_EQ(c.output_groups, 8);
    EXPECT_EQ(c.output_lora_rank, 1024);
    EXPECT_EQ(c.sliding_window, 128);
    ASSERT_THAT(c.layer_shapes, SizeIs(43));
    for (int l = 0; l < 43; ++l) EXPECT_EQ(c.shape(l).ratio, l < 2 ? 0 : l % 2 == 0 ? 4 : 128) << l;
    EXPECT_EQ(c.rope.theta, 10000);
    EXPECT_EQ(c.rope.compress_theta, 160000);
    EXPECT_EQ(c.rope.yarn_factor, 16);
    EXPECT_EQ(c.rope.yarn_original_context, 65536);
    EXPECT_EQ(c.rope.yarn_beta_fast, 32);
    EXPECT_EQ(c.rope.yarn_beta_slow, 1);
    EXPECT_EQ(c.norm_eps, 1e-6f);
    EXPECT_EQ(c.index_heads, 64);
    EXPECT_EQ(c.index_head_dim, 128);
    EXPECT_EQ(c.index_top_k, 512);
    EXPECT_EQ(c.experts, 256);
    EXPECT_EQ(c.experts_per_token, 6);
    EXPECT_EQ(c.shared_experts, 1);
    EXPECT_EQ(c.expert_hidden_size, 2048);
    EXPECT_EQ(c.hash_layers(), 3);
    EXPECT_EQ(c.routed_scale, 1.5f);
    EXPECT_THAT(c.swiglu_limit, AllOf(SizeIs(43), Each(10.0f)));
    EXPECT_THAT(c.swiglu_limit_shared, AllOf(SizeIs(43), Each(10.0f)));
    EXPECT_EQ(c.sinkhorn_iterations, 20);
    EXPECT_EQ(c.hyper_connection_eps, 1e-6f);
    EXPECT_EQ(c.bos, 0);
    EXPECT_EQ(c.eos, 1);
}

TEST(ConfigJson, Pro) {
    const Config c = read(load("pro"));
    EXPECT_EQ(c.hidden_size, 7168);
    EXPECT_EQ(c.layers, 61);
    EXPECT_EQ(c.heads, 128);
    EXPECT_EQ(c.head_dim, 512);
    EXPECT_EQ(c.q_lora_rank, 1536);
    EXPECT_EQ(c.output_groups, 16);
    ASSERT_THAT(c.layer_shapes, SizeIs(61));
    for (int l = 0; l < 61; ++l) EXPECT_EQ(c.shape(l).ratio, l == 0 || l % 2 == 1 ? 128 : 4) << l;
    EXPECT_EQ(c.index_top_k, 1024);
    EXPECT_EQ(c.experts, 384);
    EXPECT_EQ(c.expert_hidden_size, 3072);
    EXPECT_EQ(c.routed_scale, 2.5f);
    EXPECT_THAT(c.swiglu_limit, SizeIs(61));
}

TEST(ConfigJson, Nano) {
    const Config c = read(load("nano"));
    EXPECT_EQ(c.vocab_size, 8192);
    EXPECT_EQ(c.hidden_size, 256);
    EXPECT_EQ(c.layers, 8);
    EXPECT_EQ(c.context_length, 65536);
    EXPECT_EQ(c.heads, 8);
    EXPECT_EQ(c.head_dim, 128);
    EXPECT_EQ(c.output_groups, 2);
    EXPECT_EQ(c.output_lora_rank, 128);
    EXPECT_EQ(c.experts, 32);
    EXPECT_EQ(c.experts_per_token, 4);
    EXPECT_EQ(c.expert_hidden_size, 256);
    EXPECT_EQ(c.rope.yarn_original_context, 4096);
    EXPECT_EQ(c.index_heads, 8);
    EXPECT_EQ(c.index_top_k, 128);
    EXPECT_EQ(c.layer_shapes.back(), v4_layer(c.layers - 1, 128));
}

TEST(ConfigJson, ReadsADirectory) {
    const TempDir dir;
    write_file(dir / "config.json", load("nano").dump());
    EXPECT_EQ(read_config(dir.path()).name, dir.path().filename().string());
    write_file(dir / "config.json", "{");
    EXPECT_THAT(error_of([&] { read_config(dir.path()); }), HasSubstr((dir / "config.json").string()));
    write_file(dir / "config.json", std::string(2'000'000, ' '));
    EXPECT_THAT(error_of([&] { read_config(dir.path()); }), HasSubstr("too many"));
    EXPECT_THAT(error_of([&] { read_config(dir / "absent"); }), HasSubstr("No such file"));
}

// Keys whose absence changes nothing.
bool is_optional(const std::string& key) {
    for (const char* name : {"architectures", "num_key_value_heads", "scoring_func", "topk_method",
                             "norm_topk_prob", "hc_mult", "bos_token_id", "eos_token_id",
                             "tie_word_embeddings", "expert_dtype", "torch_dtype", "quantization_config"})
        if (key == name) return true;
    return false;
}

TEST(ConfigJson, EveryKeyIsNeededOrHasOneMeaning) {
    for (const char* model : {"flash", "pro", "nano"}) {
        const json whole = load(model);
        const Config expected = read(whole);
        for (const auto& [key, value] : whole.items()) {
            for (bool as_null : {false, true}) {
                json text = whole;
                if (as_null)
                    text[key] = nullptr;
                else
                    text.erase(key);
                if (key == "num_nextn_predict_layers")
                    EXPECT_FALSE(read(text).mtp);
                else if (is_optional(key))
                    EXPECT_EQ(read(text), expected) << key;
                else if (key == "rope_scaling")
                    EXPECT_EQ(read(text).rope.yarn_factor, 1) << key;
                else
                    EXPECT_THAT(refused(text),
                                AllOf(StartsWith("model/config.json:"), HasSubstr(key), HasSubstr("missing")))
                        << key;
            }
        }
    }
}

// No key, however absurd, may crash or slip through unnoticed: an error, or the very same configuration.
TEST(ConfigJson, AbsurdValuesAreRefused) {
    const std::vector<json> absurd = {-1,
                                      0,
                                      1u << 31,
                                      std::uint64_t{1} << 63,
                                      std::numeric_limits<std::uint64_t>::max(),
                                      std::numeric_limits<std::int64_t>::min(),
                                      0.5,
                                      -1e300,
                                      1e300,
                                      1e-320,
                                      "x",
                                      "",
                                      true,
                                      false,
                                      json::array(),
                                      json::object(),
                                      json::array({-1}),
                                      json::array({1e300}),
                                      json::array({nullptr})};
    // Zero is a value like any other for these, and a number is a number.
    const auto legal = [](const std::string& key, const json& value) {
        const bool large = value.is_number_unsigned() && value.get<std::uint64_t>() > 1;
        if (key == "bos_token_id" || key == "eos_token_id" || key == "num_hash_layers" ||
            key == "num_nextn_predict_layers")
            return value == 0;
        if (key == "tie_word_embeddings") return value == false;
        if (key == "norm_topk_prob") return value == true;
        if (key == "quantization_config") return value == json::object();
        if (key == "routed_scaling_factor" || key == "swiglu_limit" || key == "rms_norm_eps" ||
            key == "hc_eps")
            return large || value == 0.5;
        return large && (key == "rope_theta" || key == "compress_rope_theta");
    };
    const auto ignored = [](const std::string& key) {
        return key == "architectures" || key == "expert_dtype" || key == "torch_dtype";
    };
    const json whole = load("nano");
    const Config expected = read(whole);
    for (const auto& [key, original] : whole.items()) {
        for (const json& value : absurd) {
            json text = whole;
            text[key] = value;
            if (ignored(key))
                EXPECT_EQ(read(text), expected);
            else if (legal(key, value))
                EXPECT_NO_THROW(read(text)) << key << value;
            else
                EXPECT_THAT(refused(text), StartsWith("model/config.json:")) << key << " " << value;
        }
    }
}

TEST(ConfigJson, AbsurdTextIsRefused) {
    for (const char* text : {"", "{}", "[]", "null", "{\"model_type\":\"deepseek_v4\"}",
                             "{\"model_type\":NaN}", "{\"model_type\":7}"})
        EXPECT_THAT(error_of([&] { config_from_json(text, "c"); }), StartsWith("c:")) << text;
    std::string nan = load("nano").dump();
    nan.replace(nan.find("\"rope_theta\":10000"), 18, "\"rope_theta\":NaN");
    EXPECT_THAT(error_of([&] { config_from_json(nan, "c"); }), HasSubstr("is no JSON"));
    std::string twice = load("nano").dump();
    twice.insert(1, "\"hidden_size\":256,");
    EXPECT_THAT(error_of([&] { config_from_json(twice, "c"); }), HasSubstr("'hidden_size' appears twice"));
}

TEST(ConfigJson, OtherArchitectures) {
    EXPECT_THAT(refused("model_type", "deepseek_v41x"), HasSubstr("'deepseek_v41x' is not supported"));
    EXPECT_THAT(refused("model_type", "deepseek_v3"), HasSubstr("'deepseek_v3' is not supported"));
    EXPECT_THAT(refused("model_type", "llama"), HasSubstr("Cachalot runs DeepSeek V4"));
}

TEST(ConfigJson, MessagesNameTheKeyAndWhatWasExpected) {
    EXPECT_THAT(refused("hidden_size", "big"), HasSubstr("'hidden_size' is \"big\", expected an integer"));
    EXPECT_THAT(refused("num_key_value_heads", 8), HasSubstr("'num_key_value_heads' is 8, expected 1"));
    EXPECT_THAT(refused("scoring_func", "sigmoid"), HasSubstr("expected \"sqrtsoftplus\""));
    EXPECT_THAT(refused("topk_method", "greedy"), HasSubstr("expected \"noaux_tc\""));
    EXPECT_THAT(refused("norm_topk_prob", false), HasSubstr("expected true"));
    EXPECT_THAT(refused("tie_word_embeddings", true), HasSubstr("expected false"));
    EXPECT_THAT(refused("hc_mult", 2), HasSubstr("'hc_mult' is 2, expected 4"));
    EXPECT_THAT(refused("n_shared_experts", 2), HasSubstr("2 shared experts"));
    EXPECT_THAT(refused("num_attention_heads", 60),
                HasSubstr("the number of heads is 60, expected a multiple of 8"));
    EXPECT_THAT(refused("compress_ratios", json(std::vector<int>(42))), HasSubstr("each of the 43 layers"));
    EXPECT_THAT(refused("compress_ratios", json(std::vector<int>(43, 2))),
                HasSubstr("'compress_ratios' is 2, expected 0, 4 or 128"));
    json text = load("flash");
    text["quantization_config"]["weight_block_size"] = {32, 32};
    EXPECT_THAT(refused(text),
                HasSubstr("'quantization_config.weight_block_size' is [32,32], expected [128,128]"));
    text = load("flash");
    text["quantization_config"]["scale_fmt"] = "float";
    EXPECT_THAT(refused(text), HasSubstr("'quantization_config.scale_fmt'"));
    text = load("flash");
    text["rope_scaling"]["type"] = "linear";
    EXPECT_THAT(refused(text), HasSubstr("'rope_scaling.type' is \"linear\", expected \"yarn\""));
    text = load("flash");
    text["rope_scaling"].erase("factor");
    EXPECT_THAT(refused(text), HasSubstr("'rope_scaling.factor' is missing"));
}

TEST(ConfigJson, OtherSpellingsOfRope) {
    const Config expected = read(load("flash"));
    const json yarn = {{"rope_type", "yarn"}, {"rope_theta", 160000},
                       {"factor", 16},        {"original_max_position_embeddings", 65536},
                       {"beta_fast", 32},     {"beta_slow", 1}};
    const json plain = {{"rope_type", "default"}, {"rope_theta", 10000}};
    json text = load("flash");
    for (const char* key : {"rope_theta", "compress_rope_theta", "rope_scaling"}) text.erase(key);

    json nested = text;
    nested["rope_parameters"] = {{"main", plain}, {"compress", yarn}};
    EXPECT_EQ(read(nested), expected);

    json flat = text;
    flat["rope_parameters"] = plain;
    flat["compress_rope_parameters"] = yarn;
    EXPECT_EQ(read(flat), expected);

    nested["rope_parameters"]["compress"].erase("rope_theta");
    EXPECT_THAT(refused(nested), HasSubstr("'rope_parameters.compress.rope_theta' is missing"));
    nested["rope_parameters"] = 7;
    EXPECT_THAT(refused(nested), HasSubstr("'rope_parameters' is 7, expected an object"));
}

TEST(Validate, RefusesWhatTheForwardPassCannotDo) {
    const Config good = read(load("flash"));
    validate(good, "test");
    const auto bad = [&](auto change) {
        Config c = good;
        change(c);
        return error_of([&] { validate(c, "test"); });
    };
    EXPECT_THAT(bad([](Config& c) { c.hidden_size = 4100; }),
                AllOf(StartsWith("test: the hidden size"), HasSubstr("multiple of 32")));
    EXPECT_THAT(bad([](Config& c) { c.head_dim = 544; }),
                HasSubstr("without rope is 480, expected a multiple of 64"));
    // 64 elements without rope and 2 with: whole FP8 groups, but the kernels would read past a row of 66
    EXPECT_THAT(bad([](Config& c) { c.head_dim = 66, c.rope_dim = 2; }), HasSubstr("head dimension is 66"));
    EXPECT_THAT(bad([](Config& c) { c.head_dim = 32; }), HasSubstr("rope dimension is 64, expected 2 to 32"));
    EXPECT_THAT(bad([](Config& c) { c.rope_dim = 63; }), HasSubstr("multiple of 2"));
    EXPECT_THAT(bad([](Config& c) { c.output_groups = 7; }), HasSubstr("multiple of 7"));
    EXPECT_THAT(bad([](Config& c) { c.index_head_dim = 96; }), HasSubstr("power of two"));
    EXPECT_THAT(bad([](Config& c) { c.index_head_dim = 32; }), HasSubstr("at least the rope dimension 64"));
    Config rotated = good;
    rotated.index_head_dim = rotated.rope_dim;  // all of it is rotated
    validate(rotated, "test");
    EXPECT_THAT(bad([](Config& c) { c.experts_per_token = 257; }), HasSubstr("expected 1 to 256"));
    EXPECT_THAT(bad([](Config& c) { c.experts = 4097; }), HasSubstr("expected 1 to 4096"));
    EXPECT_THAT(bad([](Config& c) { c.layer_shapes.pop_back(); }),
                HasSubstr("42 compression ratios for 43 layers"));
    EXPECT_THAT(bad([](Config& c) { c.swiglu_limit.pop_back(); }), HasSubstr("SwiGLU"));
    EXPECT_THAT(bad([](Config& c) { c.swiglu_limit_shared[7] = 0; }), HasSubstr("shared expert is 0"));
    EXPECT_THAT(bad([](Config& c) { c.sinkhorn_iterations = 0; }), HasSubstr("Sinkhorn"));
    EXPECT_THAT(bad([](Config& c) { c.norm_eps = std::nanf(""); }), HasSubstr("norm epsilon"));
    EXPECT_THAT(bad([](Config& c) { c.hyper_connection_eps = HUGE_VALF; }), HasSubstr("hyper-connection"));
    EXPECT_THAT(bad([](Config& c) { c.rope.theta = 1; }), HasSubstr("rope theta"));
    EXPECT_THAT(bad([](Config& c) { c.rope.compress_theta = -HUGE_VALF; }), HasSubstr("rope theta"));
    EXPECT_THAT(bad([](Config& c) { c.rope.yarn_factor = 0; }), HasSubstr("YaRN factor"));
    EXPECT_THAT(bad([](Config& c) { c.rope.yarn_beta_slow = 33; }), HasSubstr("beta_fast 32 is below"));
    EXPECT_THAT(bad([](Config& c) { c.eos = 129280; }), HasSubstr("end-of-text"));
    EXPECT_THAT(bad([](Config& c) { c.context_length = 1 << 25; }), HasSubstr("context length"));
}

}  // namespace
}  // namespace cachalot
