// Synthetic models: what they promise of their weights, and that they load, run and are the same every time.
#include "model/synthetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <tuple>

#include "base/error.h"
#include "engine/engine.h"
#include "file/text_file.h"
#include "layers/forward.h"
#include "layers/host_backend.h"
#include "model/convert.h"
#include "model/cost.h"
#include "model/random_blocks.h"
#include "model/synthetic_vocabulary.h"
#include "support/nano.h"
#include "support/tiny_release.h"
#include "tensor/convert.h"

namespace cachalot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr DType kTypes[] = {DType::f32,   DType::f16,  DType::bf16, DType::q8_0,
                            DType::mxfp4, DType::q4_k, DType::q2_k, DType::iq2_xxs};

TEST(RandomBlocks, HaveMeanZeroAndTheDeviationAskedFor) {
    constexpr int kColumns = 1 << 16;
    for (DType type : kTypes)
        for (double deviation : {1.0, 1.0 / 64, 1.0 / 85}) {
            std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(type, kColumns)));
            RandomBlocks(type, deviation).fill(bytes, 3);
            std::vector<float> values(kColumns);
            dequantize_row({type, 1, kColumns, bytes.data(), static_cast<std::int64_t>(bytes.size())}, 0,
                           values);
            double sum = 0, squares = 0;
            for (float v : values) sum += v, squares += static_cast<double>(v) * v;
            EXPECT_NEAR(sum / kColumns, 0, 0.03 * deviation) << name(type);
            EXPECT_NEAR(std::sqrt(squares / kColumns), deviation, 0.02 * deviation) << name(type);
        }
    EXPECT_THROW(RandomBlocks(DType::f8_e4m3, 1), Error);
}

TEST(SyntheticVocabulary, IsATokenizerOfAnySize) {
    for (int size : {265, 300, 1024, 40000, 129280}) {
        Tokenizer tokenizer(synthetic_vocabulary(size), "made-up");
        EXPECT_EQ(tokenizer.size(), size);
        auto ids = tokenizer.encode("hello world, 你好!", SpecialTokens::literal);
        EXPECT_EQ(tokenizer.decode(ids), "hello world, 你好!");
        EXPECT_EQ(tokenizer.encode("<think>", SpecialTokens::parse).size(), 1u);
        EXPECT_LT(tokenizer.encode("abcd", SpecialTokens::literal).size(), size < 1024 ? 5u : 3u);
    }
    EXPECT_THROW(synthetic_vocabulary(264), Error);
    EXPECT_THROW(synthetic_vocabulary(1 << 20), Error);
}

TEST(KnownConfigs, AreThoseOfTheReleases) {
    for (std::string name : {"flash", "pro"}) {
        Config released =
            config_from_json(read_text_file(CACHALOT_TEST_DATA "/config/" + name + ".json"), name);
        released.mtp = false;  // which is not made up
        Config known = known_config(name);
        known.name = released.name;
        EXPECT_EQ(known, released) << name;
    }
    Config v41 = config_from_json(read_text_file(CACHALOT_TEST_DATA "/config/v41-flash.json"), "v41");
    v41.dspark = {};
    v41.vision = {};
    v41.name = known_config("v41-flash").name;
    EXPECT_EQ(known_config("v41-flash"), v41);
    Config c = known_config("flash");
    set_layers(c, 4);
    EXPECT_EQ(c.layer_shapes, v4_layers(std::array{0, 0, 4, 128}, 3));
    set_layers(c, 1);
    EXPECT_EQ(c.hash_layers(), 1);
    set_layers(c, 100);
    EXPECT_EQ(c.layer_shapes.back(), v4_layer(99, 128));
    EXPECT_EQ(c.swiglu_limit.size(), 100u);
    EXPECT_THROW(known_config("mega"), Error);
}

class Synthetic : public testing::Test {
  protected:
    std::string write(const std::string& name, const SyntheticOptions& options) {
        auto path = (folder.path() / name).string();
        write_synthetic(known_config("tiny"), options, path);
        return path;
    }

    static std::vector<std::int32_t> prompt(int length) {
        std::vector<std::int32_t> tokens;
        for (int i = 0; i < length; ++i) tokens.push_back(i * 37 % 1024);
        return tokens;
    }

    static std::vector<float> reference_logits(const std::string& path, std::vector<std::int32_t> tokens) {
        auto model = Model::load(path);
        auto primitives = make_reference_primitives();
        ResidentExpertStore experts(model->weights);
        auto pool = std::make_shared<KvPool>(KvLayout(model->config, KvPrecision::f32), make_host_device());
        const auto layers = all_layers(model->config);
        HostBackend backend(*primitives, model->config, model->weights, experts, nullptr, pool, layers);
        KvState state(pool);
        Batch batch;
        batch.add(state, tokens, RowsKind::prompt);
        auto logits = forward(backend, layers, batch).logits;
        return {logits.begin(), logits.end()};
    }

    test::TemporaryFolder folder;
};

// A part of V4.1 is a model, too; from eight layers on every kind of them is there.
TEST(KnownConfigs, AnyNumberOfLayersOfV41) {
    for (int layers = 1; layers <= 60; ++layers) {
        SCOPED_TRACE(layers);
        Config c = known_config("v41-tiny");
        set_layers(c, layers);
        validate(c, "test");
        if (layers < 8) continue;
        int readers = 0, choosers = 0, restricted = 0, tables = 0;
        for (int l = 0; l < layers; ++l) {
            const LayerShape& s = c.shape(l);
            readers += s.kv_source >= 0 && s.kv_source != l && !s.indexer;
            choosers += s.indexer && s.kv_source != l;
            restricted += s.candidate_source >= 0 && s.candidate_source != l;
            tables += s.engram >= 0;
        }
        EXPECT_GT(readers, 0);
        EXPECT_GT(choosers, 0);
        EXPECT_GT(restricted, 0);
        EXPECT_EQ(tables, 2);
    }
}

TEST(KnownConfigs, AFewLayersOfEveryKind) {
    for (const char* name : {"flash", "pro", "v41-flash"}) {
        SCOPED_TRACE(name);
        const Config all = known_config(name);
        Config few = all;
        set_layers(few, layers_of_every_kind(all));
        validate(few, "test");
        EXPECT_LE(few.layers, 8);
        // Whatever differs between layers, but which ones they are.
        auto kinds = [](const Config& c) {
            std::set<std::tuple<int, bool, bool, bool, bool, bool>> set;
            for (int l = 0; l < c.layers; ++l) {
                const LayerShape& s = c.shape(l);
                set.insert({s.ratio, s.overlap, s.indexer, s.kv_source == l,
                            s.candidate_source >= 0 && s.candidate_source != l, s.ratio == 0 && s.hash});
            }
            return set;
        };
        EXPECT_EQ(kinds(few), kinds(all));
        EXPECT_EQ(few.engram.layers.size(), all.engram.layers.size());
        if (!all.is_v41()) EXPECT_LT(few.hash_layers(), few.layers);
    }
}

TEST_F(Synthetic, RoutersCanBeSkewed) {
    Config config = known_config("tiny");
    config.layer_shapes = v4_layers(std::array{0, 128, 4, 128}, 1);
    config.experts = 96;
    SyntheticOptions options;
    double share[2] = {}, deviation[2] = {};
    for (int skewed : {0, 1}) {
        options.router_skew = skewed ? 0.15 : 0;
        write_synthetic(config, options, folder.path() / "x.gguf");
        const auto model = Model::load(folder.path() / "x.gguf");
        const auto& table = model->weights.layers[0].table;
        std::vector<double> count(96);
        for (const auto expert : table) count[static_cast<std::size_t>(expert)] += 1;
        std::sort(count.rbegin(), count.rend());
        for (int i = 0; i < 9; ++i)
            share[skewed] += count[static_cast<std::size_t>(i)] / static_cast<double>(table.size());
        for (int layer = 1; layer < 4; ++layer)
            for (const float bias : model->weights.layers[static_cast<std::size_t>(layer)].router_bias)
                deviation[skewed] += static_cast<double>(bias) * bias / (3 * 96);
    }
    EXPECT_LT(share[0], 0.14);
    EXPECT_NEAR(share[1], 0.4, 0.05);
    EXPECT_LT(deviation[0], 0.001);
    EXPECT_NEAR(std::sqrt(deviation[1]), 0.15, 0.02);
}

TEST_F(Synthetic, TheSameArgumentsWriteTheSameFile) {
    auto bytes = [&](const SyntheticOptions& options) { return read_text_file(write("m.gguf", options)); };
    SyntheticOptions options;
    options.threads = 1;
    auto first = bytes(options);
    options.threads = 3;
    EXPECT_TRUE(bytes(options) == first);
    options.seed = 2;
    EXPECT_FALSE(bytes(options) == first);
}

TEST_F(Synthetic, RunsAlikeOnBothBackends) {
    struct Case {
        DType gate_up, down, dense;
        int tokens;  // 130: a whole block of HCA; fewer are enough for the other formats
    };
    for (auto [gate_up, down, dense, tokens] :
         {Case{DType::mxfp4, DType::mxfp4, DType::q8_0, 130},
          Case{DType::iq2_xxs, DType::q2_k, DType::q8_0, 20}, Case{DType::q4_k, DType::q4_k, DType::q4_k, 20},
          Case{DType::q8_0, DType::f16, DType::bf16, 20}}) {
        SyntheticOptions options;
        options.gate_up = gate_up, options.down = down, options.dense = dense;
        auto path = write("m.gguf", options);
        auto expected = reference_logits(path, prompt(tokens));
        ASSERT_EQ(expected.size(), 1024u);
        for (float v : expected) ASSERT_TRUE(std::isfinite(v));
        Engine engine(Model::load(path), {2, Precision::exact, KvPrecision::f32});
        auto state = engine.new_state();
        EXPECT_LT(test::largest_difference(engine.prefill(state, prompt(tokens)), expected), 1e-3);
    }
}

TEST_F(Synthetic, AnIndexerThatIsRotatedAsAWholeRunsAlike) {
    Config config = known_config("tiny");
    config.index_head_dim = config.rope_dim;
    const auto path = (folder.path() / "rotated.gguf").string();
    write_synthetic(config, {}, path);
    const auto expected = reference_logits(path, prompt(60));
    for (float v : expected) ASSERT_TRUE(std::isfinite(v));
    for (auto kv : {KvPrecision::f32, KvPrecision::reference}) {
        Engine engine(Model::load(path), {2, Precision::exact, kv});
        auto state = engine.new_state();
        const auto logits = engine.prefill(state, prompt(60));
        EXPECT_LT(test::largest_difference(logits, expected), kv == KvPrecision::f32 ? 1e-3 : 1.0);
    }
}

TEST_F(Synthetic, ConvertsLikeAnyModel) {
    SyntheticOptions options;
    options.gate_up = DType::iq2_xxs, options.down = DType::q2_k, options.dense = DType::q4_k;
    auto path = write("m.gguf", options), copy = (folder.path() / "copy.gguf").string();
    EXPECT_EQ(convert(*Checkpoint::open(path), copy, {}).changed, 0);
    EXPECT_TRUE(read_text_file(copy) == read_text_file(path));
    ConvertOptions plain{.types = {.experts = DType::f16, .dense = DType::f32}};
    EXPECT_GT(convert(*Checkpoint::open(path), copy, plain).changed, 0);
    auto cost = [](const std::string& file) {
        auto model = Model::load(file);
        return token_cost(model->config, model->weights);
    };
    EXPECT_GT(cost(copy).bytes, 3 * cost(path).bytes);
    EXPECT_EQ(cost(copy).operations, cost(path).operations);
}

// Neither dying away nor exploding, and no expert left out.
TEST_F(Synthetic, ActivationsKeepTheirSizeAndExpertsAreChosenEvenly) {
    Engine engine(Model::load(write("m.gguf", {})), {2, Precision::fast});
    std::vector<int> chosen(16);
    engine.observe_layers([&](const LayerView& view) {
        double squares = 0;
        for (float v : view.streams) squares += static_cast<double>(v) * v;
        double size = std::sqrt(squares / static_cast<double>(view.streams.size()));
        EXPECT_GT(size, 0.2);
        EXPECT_LT(size, 5);
        for (auto e : view.experts) ++chosen[static_cast<std::size_t>(e)];
    });
    auto state = engine.new_state();
    auto logits = engine.prefill(state, prompt(150));
    double squares = 0;
    for (float v : logits) squares += static_cast<double>(v) * v;
    EXPECT_NEAR(std::sqrt(squares / 1024), 1, 0.5);
    const double even = 150 * 4 * 3 / 16.0;
    for (int n : chosen) {
        EXPECT_GT(n, even / 2);
        EXPECT_LT(n, even * 2);
    }
}

TEST_F(Synthetic, TypesThatDoNotFitAreRefusedByName) {
    Config config = known_config("tiny");
    config.expert_hidden_size = 96;
    auto error = [&](const SyntheticOptions& options) -> std::string {
        try {
            write_synthetic(config, options, folder.path() / "x.gguf");
        } catch (const Error& e) {
            return e.what();
        }
        return "";
    };
    SyntheticOptions options;
    options.down = DType::q2_k;
    EXPECT_THAT(error(options), testing::AllOf(HasSubstr("blk.0.ffn_down_exps.weight"), HasSubstr("q2_k")));
    options.down = DType::i32;
    EXPECT_THAT(error(options), HasSubstr("i32"));
    config.experts_per_token = 17;
    EXPECT_THAT(error({}), HasSubstr("experts per token"));
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace cachalot
