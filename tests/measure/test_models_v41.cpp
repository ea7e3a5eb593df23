// What measures, and what streams experts, on a model of V4.1: random weights in the layout of a release, and
// files that are converted from it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/engine.h"
#include "experts/streaming_expert_store.h"
#include "file/text_file.h"
#include "measure/importance_collector.h"
#include "measure/text_windows.h"
#include "model/convert.h"
#include "model/expert_pack.h"
#include "model/model_tensors.h"
#include "support/nano.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using nlohmann::json;

class MeasuredV41 : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = new test::TemporaryFolder;
        std::filesystem::create_directory(release());
        json text = json::parse(read_text_file(CACHALOT_TEST_DATA "/config/tiny41.json"));
        text["text_config"]["n_routed_experts"] = 6;  // faster to write
        test::TinyRelease make(release(), text);
    }
    static void TearDownTestSuite() { delete folder_; }
    static std::filesystem::path path(const std::string& name) { return folder_->path() / name; }
    static std::filesystem::path release() { return path("release"); }

    static std::string converted(const std::string& name, const ConvertOptions& options) {
        convert(*Checkpoint::open(release()), path(name), options);
        return path(name).string();
    }
    static std::vector<std::int32_t> text(int tokens) {
        std::vector<std::int32_t> ids;
        for (int i = 0; i < tokens; ++i) ids.push_back(300 + i * i * 37 % 7000);
        return ids;
    }
    static EngineOptions exact() {
        EngineOptions options{2, Precision::exact, KvPrecision::reference};
        options.chunk = 20;
        return options;
    }
    // Of a prompt of 50 tokens and an answer of 8.
    static std::vector<float> logits(Engine& engine) {
        const auto ids = text(58);
        auto state = engine.new_state();
        auto all = test::all_logits(engine, state, std::span(ids).first(50), 20);
        const auto rest = test::all_logits(engine, state, std::span(ids).subspan(50), 1);
        all.insert(all.end(), rest.begin(), rest.end());
        return all;
    }
    static std::vector<float> logits(const std::filesystem::path& model) {
        Engine engine(Model::load(model), exact());
        return logits(engine);
    }

  private:
    static inline test::TemporaryFolder* folder_ = nullptr;
};

// KL(A || B) in nats, the mean over rows of `vocab` logits.
double divergence(std::span<const float> a, std::span<const float> b, std::size_t vocab) {
    auto log_sum = [](std::span<const float> row) {
        double sum = 0;
        const double largest = *std::max_element(row.begin(), row.end());
        for (const float v : row) sum += std::exp(v - largest);
        return largest + std::log(sum);
    };
    double kl = 0;
    for (std::size_t first = 0; first < a.size(); first += vocab) {
        const auto x = a.subspan(first, vocab), y = b.subspan(first, vocab);
        const double sum_x = log_sum(x), sum_y = log_sum(y);
        for (std::size_t i = 0; i < vocab; ++i) kl += std::exp(x[i] - sum_x) * (x[i] - sum_x - y[i] + sum_y);
    }
    return kl / static_cast<double>(a.size() / vocab);
}

TEST_F(MeasuredV41, FilesWithoutLossGiveTheSameBitsAndOthersAreClose) {
    const auto expected = logits(release());
    for (const float v : expected) ASSERT_TRUE(std::isfinite(v));
    EXPECT_EQ(logits(converted("lossless.gguf", {})), expected);
    ConvertOptions fp8;
    fp8.types.dense = DType::f8_e4m3;
    EXPECT_EQ(logits(converted("fp8.gguf", fp8)), expected);
    ConvertOptions fine, coarse;
    fine.types.recipe = "mxfp4";
    coarse.types.experts = coarse.types.dense = DType::q4_0;
    const auto vocab = static_cast<std::size_t>(Checkpoint::open(release())->config().vocab_size);
    const double near = divergence(expected, logits(converted("mxfp4.gguf", fine)), vocab),
                 far = divergence(expected, logits(converted("q4_0.gguf", coarse)), vocab);
    EXPECT_GT(near, 0);
    EXPECT_GT(far, near);
    EXPECT_LT(far, 5);
}

// Under the names, and with the numbers of columns, with which a conversion looks.
TEST_F(MeasuredV41, ImportanceIsOfEveryMatrixThatMayBeRounded) {
    const auto model = Model::load(release());
    const Config& c = model->config;
    ImportanceMatrix matrix;
    ImportanceCollector collector(*model, matrix);
    EngineOptions options = exact();
    options.observer = &collector;
    Engine engine(model, options);
    const auto ids = text(61);
    evaluate_window(engine, ids, [](auto, auto) {});
    for (const TensorSpec& spec : model_tensors(c)) {
        if (spec.kind != TensorSpec::Kind::matrix && spec.kind != TensorSpec::Kind::experts) continue;
        if (spec.gguf.find("hc_") != spec.gguf.npos || spec.gguf == "token_embd.weight") continue;
        EXPECT_EQ(matrix.mean(spec.gguf, spec.columns).size(), static_cast<std::size_t>(spec.columns))
            << spec.gguf;
    }
    auto count = [&](const std::string& name) { return matrix.entries().at(name).counts.at(0); };
    for (int l = 0; l < c.layers; ++l) {
        const LayerShape& s = c.shape(l);
        const std::string block = fmt::format("blk.{}.", l);
        EXPECT_EQ(count(block + "attn_q_a.weight"), 61);
        EXPECT_EQ(count(block + "attn_output_a.weight"), 61 * c.output_groups);
        if (s.engram >= 0) EXPECT_EQ(count(block + "engram_wkv.weight"), 61);
        if (s.indexer) EXPECT_EQ(count(block + "indexer.proj.weight"), 61);
        if (s.kv_source != l) continue;
        EXPECT_EQ(count(block + "attn_compressor_kv.weight"), 61);
        if (s.ratio > 1) EXPECT_EQ(count(block + "attn_compressor_gate.weight"), 61);
        // Keys are made of compressed rows. Each pass makes those that its tokens complete.
        EXPECT_EQ(count(block + "indexer.attn_k.weight"), 61 / s.ratio);
    }

    ConvertOptions all;
    all.importance = &matrix;
    all.types.overrides = {{R"(blk\.[0-9]+\.(attn|ffn|indexer|engram).*|output.weight)", DType::q8_0}};
    const auto summary = convert(*Checkpoint::open(release()), path("all.gguf"), all);
    EXPECT_GT(summary.changed, 100);
    EXPECT_EQ(summary.unmeasured, 0);
}

TEST_F(MeasuredV41, StreamedExpertsGiveTheSameBits) {
    const auto gguf = converted("streamed.gguf", {});
    for (const std::filesystem::path& file : {release(), std::filesystem::path(gguf)}) {
        SCOPED_TRACE(file);
        const auto model = Model::load(file);
        Engine mapped(model, exact());
        const auto expected = logits(mapped);
        write_pack(*model, path("pack"));
        for (const bool packed : {false, true}) {
            EngineOptions options = exact();
            options.expert_cache.emplace("25%", "the cache");
            options.expert_heat = open_heat_file(*model, path("heat"));
            options.route_trace = path("trace").string();
            if (packed) options.expert_packs = {std::make_shared<ExpertPack>(*model, path("pack"))};
            {
                Engine engine(model, options);
                EXPECT_EQ(logits(engine), expected);
                EXPECT_EQ(engine.expert_stats()->slots, 14);  // of 54
                EXPECT_GT(engine.expert_stats()->prompt.hits, 0u);
            }
            const RouteTrace trace = read_route_trace(path("trace"));
            EXPECT_EQ(trace.tokens.size(), 58u);
            EXPECT_EQ(trace.header.layers, model->config.layers);
            EXPECT_EQ(trace.header.top_k, model->config.experts_per_token);
            for (int l = 0; l < model->config.layers; ++l)
                EXPECT_EQ(trace.chosen(57, l).size(),
                          static_cast<std::size_t>(model->config.experts_per_token));
        }
        EXPECT_GT(open_heat_file(*model, path("heat")).heat.tokens(), 58);  // of both sessions
        std::filesystem::remove(path("heat"));
    }
}

}  // namespace
}  // namespace cachalot
