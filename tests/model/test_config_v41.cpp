// Configurations of V4.1: what follows from the lists of layers, and what cannot be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "file/support.h"
#include "model/config.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

json load(const std::string& name) {
    return json::parse(read_file(std::filesystem::path(CACHALOT_TEST_DATA) / "config" / (name + ".json")));
}

Config read(const json& text) { return config_from_json(text.dump(), "model/config.json"); }

// The message for the configuration of the small random model with other keys of its text model.
std::string refused(const json& changes) {
    json text = load("tiny41");
    text["text_config"].update(changes);
    return error_of([&] { read(text); });
}

std::vector<int> kv_sources(const Config& c) {
    std::vector<int> sources;
    for (const auto& s : c.layer_shapes) sources.push_back(s.kv_source);
    return sources;
}
std::vector<int> index_sources(const Config& c) {
    std::vector<int> sources;
    for (const auto& s : c.layer_shapes) sources.push_back(s.index_source);
    return sources;
}
std::vector<int> candidate_sources(const Config& c) {
    std::vector<int> sources;
    for (const auto& s : c.layer_shapes) sources.push_back(s.candidate_source);
    return sources;
}

TEST(ConfigV41, Flash) {
    const Config c = read(load("v41-flash"));
    EXPECT_TRUE(c.is_v41());
    EXPECT_EQ(c.hidden_size, 5120);
    EXPECT_EQ(c.layers, 40);
    EXPECT_EQ(c.q_lora_rank, 1280);
    EXPECT_EQ(c.experts, 384);
    EXPECT_EQ(c.expert_hidden_size, 2304);
    EXPECT_EQ(c.norm_eps, 1e-20f);
    EXPECT_FALSE(c.query_head_norm);
    EXPECT_FALSE(c.index_hadamard);
    EXPECT_TRUE(c.delayed_mixing);
    EXPECT_EQ(c.fp8_block, 32);
    EXPECT_EQ(c.activation_group, 32);
    EXPECT_EQ(c.window_rows, RowRounding::fp8_32);
    EXPECT_EQ(c.compressed_rows, RowRounding::fp4_16);
    EXPECT_EQ(c.hash_layers(), 0);
    for (int l = 0; l < 40; ++l) {
        const LayerShape& s = c.shape(l);
        EXPECT_EQ(s.ratio, l < 2 ? 0 : l < 20 ? 2 : 1) << l;
        EXPECT_EQ(s.kv_source, l < 2 ? -1 : l < 20 ? (l - 2) / 6 * 6 + 2 : 20) << l;
        EXPECT_EQ(s.index_source, l < 2 ? -1 : l < 20 ? (l - 2) / 6 * 6 + 2 : l / 4 * 4) << l;
        EXPECT_EQ(s.indexer, s.index_source == l) << l;
        EXPECT_EQ(s.candidate_source, l >= 20 && l % 4 == 0 ? 20 : -1) << l;
        EXPECT_EQ(s.engram, l == 1 ? 0 : l == 14 ? 1 : -1) << l;
    }
    EXPECT_EQ(c.candidate_blocks, 2048);
    EXPECT_EQ(c.candidate_block_size, 8);
    EXPECT_EQ(c.engram.rows_per_token(), 24);
    EXPECT_EQ(c.engram.input_size(), 6144);
    EXPECT_EQ(c.dspark.stages, 3);
    EXPECT_THAT(c.dspark.target_layers, ElementsAre(37, 38, 39));
    EXPECT_EQ(c.vision.layers, 32);
    EXPECT_EQ(c.vision.max_aspect, 0);
    EXPECT_EQ(c.vision.token, 129264);
}

TEST(ConfigV41, SmallModelsOfOtherShapes) {
    const Config nano = read(load("nano41"));
    EXPECT_THAT(kv_sources(nano), ElementsAre(-1, -1, 2, 2, 4, 4, 6, 6, 6, 6));
    EXPECT_THAT(index_sources(nano), ElementsAre(-1, -1, 2, 2, 4, 4, 6, 6, 8, 8));
    EXPECT_THAT(candidate_sources(nano), ElementsAre(-1, -1, -1, -1, -1, -1, 6, -1, 6, -1));
    const Config tiny = read(load("tiny41"));
    EXPECT_THAT(kv_sources(tiny), ElementsAre(-1, 1, 1, 3, 3, 5, 5, 5, 5));
    EXPECT_THAT(index_sources(tiny), ElementsAre(-1, 1, 1, 3, 3, 5, 5, 7, 8));
    EXPECT_THAT(candidate_sources(tiny), ElementsAre(-1, -1, -1, -1, -1, 5, -1, 5, 5));
    EXPECT_EQ(tiny.shape(0).engram, 0);
    EXPECT_EQ(tiny.shape(3).engram, 1);
}

// The text model's keys may lie at the top, as in files made by other tools.
TEST(ConfigV41, FlatKeysMeanTheSame) {
    for (const char* name : {"nano41", "tiny41", "v41-flash"}) {
        const json nested = load(name);
        json flat = nested;
        flat.erase("text_config");
        flat.update(nested["text_config"]);
        for (const char* type : {"deepseek_v41", "deepseek_v41_text"}) {
            flat["model_type"] = type;
            EXPECT_EQ(read(flat), read(nested)) << name;
        }
    }
}

TEST(ConfigV41, DrafterAndPicturesMayBeAbsent) {
    json text = load("nano41");
    text.erase("vision_config");
    text["text_config"].erase("dspark_block_size");
    const Config c = read(text);
    EXPECT_EQ(c.dspark, DsparkConfig());
    EXPECT_EQ(c.vision, VisionConfig());
    text["text_config"]["engram_layer_ids"] = json::array();
    text["text_config"]["candidate_source_layer_id"] = -1;
    EXPECT_FALSE(read(text).engram.present());
    for (const auto& s : read(text).layer_shapes) EXPECT_EQ(s.candidate_source, -1);
}

TEST(ConfigV41, EveryKeyOfTheTextModelIsNeededOrHasOneMeaning) {
    const std::set<std::string> optional = {"model_type",
                                            "hidden_act",
                                            "attention_bias",
                                            "attention_dropout",
                                            "initializer_range",
                                            "use_cache",
                                            "num_key_value_heads",
                                            "tie_word_embeddings",
                                            "rope_scaling",
                                            "scoring_func",
                                            "topk_method",
                                            "norm_topk_prob",
                                            "hc_mult",
                                            "candidate_source_layer_id",
                                            "dspark_block_size"};
    const json whole = load("nano41");
    const Config expected = read(whole);
    for (const auto& [key, value] : whole["text_config"].items()) {
        json text = whole;
        text["text_config"].erase(key);
        if (optional.count(key))
            EXPECT_NO_THROW(read(text)) << key;
        else
            EXPECT_THAT(error_of([&] { read(text); }), AllOf(StartsWith("model/config.json: 'text_config."),
                                                             HasSubstr(key), HasSubstr("missing")));
    }
}

TEST(ConfigV41, LayersThatCannotBe) {
    EXPECT_THAT(refused({{"index_source_layer_ids", {1, 3, 5, 7, 7}}}), HasSubstr("names layer 7 twice"));
    EXPECT_THAT(refused({{"kv_source_layer_ids", {1, 3, 3}}}), HasSubstr("names layer 3 twice"));
    EXPECT_THAT(refused({{"index_source_layer_ids", {1, 5, 3}}}), HasSubstr("layer 3 after layer 5"));
    EXPECT_THAT(refused({{"index_source_layer_ids", {1, 3, 5, 9}}}), HasSubstr("names layer 9 of 9"));
    EXPECT_THAT(refused({{"kv_source_layer_ids", {2, 3, 5}}}), HasSubstr("no layer up to 1 keeps the rows"));
    EXPECT_THAT(refused({{"kv_source_layer_ids", {1, 5}}}),
                HasSubstr("layer 3 has a ratio of 2, but the layer 1 whose rows it reads has 3"));
    EXPECT_THAT(refused({{"kv_source_layer_ids", {0, 1, 3, 5}}}), HasSubstr("its ratio is 0"));
    // Layer 3 keeps rows of its own, and would use a choice among those of layer 1.
    EXPECT_THAT(refused({{"index_source_layer_ids", {1, 5, 7, 8}}}),
                HasSubstr("layer 3 reads the rows of layer 3, and no index source"));
    EXPECT_THAT(refused({{"compress_ratios", {0, 3}}}), HasSubstr("an entry for each of the 9 layers"));
}

// What would be computed is something else.
TEST(ConfigV41, OtherFormulasAreRefused) {
    EXPECT_THAT(refused({{"hidden_act", "gelu"}}), HasSubstr("hidden_act"));
    EXPECT_THAT(refused({{"attention_bias", true}}), HasSubstr("attention_bias"));
    EXPECT_THAT(refused({{"num_hash_layers", 2}}), HasSubstr("num_hash_layers"));
}

TEST(ConfigV41, CandidatesThatCannotBe) {
    EXPECT_THAT(refused({{"candidate_source_layer_id", 6}}), HasSubstr("but is no index source"));
    EXPECT_THAT(refused({{"candidate_source_layer_id", 99}}), HasSubstr("but is no index source"));
    EXPECT_THAT(refused({{"candidate_source_layer_id", 3}}),
                HasSubstr("layer 5 keeps to the candidates of layer 3, which chooses among other rows"));
    EXPECT_THAT(refused({{"candidate_topk_blocks", 7}}),
                HasSubstr("7 candidate blocks of 5 rows hold fewer than the 40"));
    EXPECT_THAT(refused({{"candidate_block_size", 0}}), HasSubstr("candidate block is 0"));
    EXPECT_THAT(refused({{"candidate_source_layer_id", std::uint64_t{1} << 63}}),
                HasSubstr("candidate_source_layer_id"));
}

TEST(ConfigV41, EngramThatCannotBe) {
    EXPECT_THAT(refused({{"engram_num_embeddings", {3144, 3425}}}),
                HasSubstr("table of layer 3 has 3425 rows, but its 6 primes from"));
    EXPECT_THAT(refused({{"engram_vocab_size", 505}}), HasSubstr("table of layer 0 has 3144 rows"));
    EXPECT_THAT(refused({{"engram_num_embeddings", {3144}}}), HasSubstr("1 sizes of Engram tables for 2"));
    EXPECT_THAT(refused({{"engram_head_dim", 40}}), HasSubstr("multiple of 32"));
    EXPECT_THAT(refused({{"engram_max_ngram_size", 1}}), HasSubstr("longest n-gram"));
    EXPECT_THAT(refused({{"engram_n_heads", 0}}), HasSubstr("Engram heads"));
    EXPECT_THAT(refused({{"engram_pad_token_id", 8192}}), HasSubstr("padding token"));
    EXPECT_THAT(refused({{"engram_compressed_vocab_size", 9000}}), HasSubstr("token classes"));
    EXPECT_THAT(refused({{"engram_layer_ids", {0, 9}}}), HasSubstr("names layer 9 of 9"));
    EXPECT_THAT(refused({{"engram_layer_ids", {0, 0}}}), HasSubstr("names layer 0 twice"));
}

TEST(ConfigV41, QuantisationHasBlocksOf32Or128) {
    json text = load("tiny41");
    auto& block = text["quantization_config"]["weight_block_size"];
    block = {128, 128};
    EXPECT_EQ(read(text).fp8_block, 128);
    for (const json& wrong : {json{32, 128}, json{64, 64}, json{32}, json(32), json("32")}) {
        block = wrong;
        EXPECT_THAT(error_of([&] { read(text); }), HasSubstr("weight_block_size")) << wrong;
    }
}

// No value, however absurd, may crash.
TEST(ConfigV41, AbsurdValuesAreErrorsOrChangeNothing) {
    const std::vector<json> absurd = {-1,
                                      0,
                                      1u << 31,
                                      std::uint64_t{1} << 63,
                                      0.5,
                                      1e300,
                                      "x",
                                      "",
                                      true,
                                      json::array(),
                                      json::object(),
                                      json::array({-1}),
                                      json::array({1e300}),
                                      json::array({nullptr})};
    const json whole = load("tiny41");
    for (const char* part : {"text_config", "vision_config"})
        for (const auto& [key, original] : whole[part].items())
            for (const json& value : absurd) {
                json text = whole;
                text[part][key] = value;
                std::string message;
                try {
                    read(text);
                } catch (const Error& e) {
                    message = e.what();
                    EXPECT_THAT(message, StartsWith("model/config.json:")) << key << " " << value;
                }
            }
}

TEST(EngramHashes, AreThoseOfTheRelease) {
    const EngramConfig e = read(load("v41-flash")).engram;
    const auto first = e.primes_of(0), second = e.primes_of(1);
    ASSERT_THAT(first, SizeIs(24));
    ASSERT_THAT(second, SizeIs(24));
    EXPECT_EQ(first.front(), 16'000'057);
    EXPECT_EQ(first.back(), 16'000'463);
    EXPECT_EQ(second.front(), 16'000'477);
    EXPECT_EQ(second.back(), 16'000'889);
    EXPECT_EQ(std::accumulate(first.begin(), first.end(), std::int64_t{0}), 384'006'168);
    EXPECT_EQ(std::accumulate(second.begin(), second.end(), std::int64_t{0}), 384'016'682);
    EXPECT_THAT(e.multipliers_of(0),
                ElementsAre(76632096046245, 4839876093313, 35959672319349, 73987337458391));
    EXPECT_THAT(e.multipliers_of(1),
                ElementsAre(67716810739261, 51510806800915, 30921347202721, 82619226485591));
}

}  // namespace
}  // namespace cachalot
