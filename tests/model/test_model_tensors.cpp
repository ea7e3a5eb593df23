#include "model/model_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "base/error.h"
#include "file/text_file.h"
#include "model/part_tensors.h"
#include "model/synthetic.h"
#include "support/nano.h"

namespace cachalot {
namespace {

using testing::HasSubstr;

std::string refusal(const Config& config) {
    try {
        validate(config, "test");
    } catch (const Error& e) {
        return e.what();
    }
    return {};
}

TEST(LayerShapes, AreThoseOfV4) {
    const auto shapes = v4_layers(std::array{0, 4, 128}, 2);
    EXPECT_EQ(shapes[0], (LayerShape{0, false, false, -1, -1, true}));
    EXPECT_EQ(shapes[1], (LayerShape{4, true, true, 1, 1, true}));
    EXPECT_EQ(shapes[2], (LayerShape{128, false, false, 2, -1, false}));
    for (const int ratio : {-1, 1, 2, 3, 5, 64, 127, 129, 1 << 20})
        EXPECT_EQ(v4_layer(0, ratio), std::nullopt) << ratio;
    for (const int ratio : {0, 4, 128}) EXPECT_EQ(ratio_of_kind(kind_name(*v4_layer(0, ratio))), ratio);
    EXPECT_EQ(ratio_of_kind("ring"), std::nullopt);
}

TEST(LayerShapes, ReadOnlyWhatIsThere) {
    const auto refused = [](auto&& change) {
        Config c = known_config("flash");
        change(c.layer_shapes);
        return refusal(c);
    };
    using Shapes = std::vector<LayerShape>;
    EXPECT_EQ(refused([](Shapes&) {}), "");
    EXPECT_EQ(refused([](Shapes& s) { s[4].kv_source = 2; }), "");  // a CSA layer shares the rows of another
    EXPECT_EQ(refused([](Shapes& s) { s[4].index_source = 2; }), "");
    EXPECT_THAT(refused([](Shapes& s) { s[2].kv_source = 4; }), HasSubstr("layer 2 reads rows of layer 4"));
    EXPECT_THAT(refused([](Shapes& s) { s[4].kv_source = 3; }), HasSubstr("layer 4 reads rows of layer 3"));
    EXPECT_THAT(refused([](Shapes& s) { s[4].kv_source = 0; }), HasSubstr("layer 4 reads rows of layer 0"));
    EXPECT_THAT(refused([](Shapes& s) { s[4].index_source = 3; }),
                HasSubstr("layer 3, which has no indexer"));
    EXPECT_THAT(refused([](Shapes& s) { s[4].index_source = 6; }), HasSubstr("choice of layer 6"));
    EXPECT_THAT(refused([](Shapes& s) { s[4].ratio = -4; }), HasSubstr("layer 4"));
    EXPECT_THAT(refused([](Shapes& s) { s[4].kv_source = -1; }), HasSubstr("layer 4"));
    EXPECT_THAT(refused([](Shapes& s) { s[0].overlap = true; }), HasSubstr("layer 0"));
}

// The number of tensors; each has names and a place that no other has.
std::size_t places_of(const Config& c) {
    Weights weights;
    weights.layers.resize(static_cast<std::size_t>(c.layers));
    weights.drafter.stages.resize(static_cast<std::size_t>(c.dspark.stages));
    std::vector<TensorSpec> table = model_tensors(c);
    for (auto& spec : drafter_tensors(c)) table.push_back(spec);
    std::set<std::string> gguf, release;
    std::set<std::pair<const void*, int>> places;
    for (const TensorSpec& spec : table) {
        EXPECT_TRUE(gguf.insert(spec.gguf).second) << spec.gguf;
        EXPECT_TRUE(release.insert(spec.release).second) << spec.release;
        EXPECT_GT(spec.rows * spec.columns, 0) << spec.gguf;
        const TensorMember member = spec.member(weights);
        std::pair<const void*, int> place{nullptr, 0};
        if (const auto* m = std::get_if<Matrix*>(&member)) place.first = *m;
        if (const auto* m = std::get_if<SlicedMember>(&member)) place.first = m->slices;
        if (const auto* m = std::get_if<EngramTable*>(&member)) place.first = *m;
        if (const auto* m = std::get_if<std::vector<float>*>(&member)) place.first = *m;
        if (const auto* m = std::get_if<std::vector<std::int32_t>*>(&member)) place.first = *m;
        if (const auto* m = std::get_if<ExpertMember>(&member))
            place = {m->experts, m->matrix == &ExpertWeights::gate ? 1
                                 : m->matrix == &ExpertWeights::up ? 2
                                                                   : 3};
        EXPECT_TRUE(places.insert(place).second) << spec.gguf;
    }
    return places.size();
}

TEST(ModelTensors, EveryTensorHasAPlaceOfItsOwn) {
    // 3 outside of the layers and 3 of the head's hyper-connection; in each layer 8 of hyper-connections with
    // norms, 8 of attention, 8 of experts; 4 of a compressor in 41 layers, 6 of an indexer in 21.
    EXPECT_EQ(places_of(known_config("flash")), 6u + 43 * 24 + 41 * 4 + 21 * 6);
}

// The index of the release names 96,085 tensors: those of these tables, where a matrix in FP8 and each expert
// has scales besides.
TEST(ModelTensors, ThoseOfV41AreTheReleases) {
    const std::string path = CACHALOT_TEST_DATA "/config/v41-flash.json";
    const Config c = config_from_json(read_text_file(path), "v41-flash/config.json");
    struct Sum {
        std::int64_t tensors = 0, bytes = 0;
    };
    const auto sum = [&](const std::vector<TensorSpec>& specs, bool text) {
        Sum all;
        for (const TensorSpec& s : specs) {
            const std::int64_t values = s.rows * s.columns * std::max(1, s.experts);
            const bool fp8 = is_fp8_in_releases(s.role), table = s.kind == TensorSpec::Kind::table;
            const bool fp4 = s.kind == TensorSpec::Kind::experts,
                       f32 = text && !s.release.ends_with("weight");
            all.tensors += std::max(1, s.experts) * (fp8 || fp4 || table ? 2 : 1);
            all.bytes += fp8     ? values + blocks_of(s.rows, c.fp8_block) * blocks_of(s.columns, c.fp8_block)
                         : fp4   ? values / 2 + values / kFp4Block
                         : table ? values + values / kEngramBlock
                                 : values * (f32 ? 4 : 2);
        }
        return all;
    };
    const Sum model = sum(model_tensors(c), true), drafter = sum(drafter_tensors(c), true),
              vision = sum(vision_tensors(c), false);
    EXPECT_EQ(vision.tensors, 266);
    EXPECT_EQ(vision.bytes, 970'536'960);
    EXPECT_EQ(drafter.tensors, 3 * 798 + 7);
    EXPECT_NEAR(static_cast<double>(drafter.bytes), 7.93e9, 1e7);
    EXPECT_EQ(model.tensors, 96'085 - 266 - 3 * 798 - 7);
    EXPECT_NEAR(static_cast<double>(model.bytes), (298.31 + 203.07) * 1e9, 1e7);
    EXPECT_EQ(model.bytes + drafter.bytes + vision.bytes, 510'286'023'000);
    EXPECT_EQ(places_of(c),
              static_cast<std::size_t>(std::ssize(model_tensors(c)) + std::ssize(drafter_tensors(c))));
}

TEST(ModelTensors, ALayerThatSharesRowsHasNoCompressor) {
    Config c = known_config("flash");
    c.layer_shapes[4].kv_source = 2;
    std::set<std::string> names;
    for (const TensorSpec& spec : model_tensors(c)) names.insert(spec.gguf);
    EXPECT_TRUE(names.contains("blk.2.attn_compressor_kv.weight"));
    EXPECT_FALSE(names.contains("blk.4.attn_compressor_kv.weight"));
    EXPECT_TRUE(names.contains("blk.4.indexer.attn_q_b.weight"));
}

TEST(ModelTensors, EveryMatrixIsVisitedOnce) {
    const auto& model = *test::nano();
    std::set<const Matrix*> seen;
    std::int64_t rows = 0;
    each_matrix(model.config, model.weights, [&](const TensorSpec& spec, const Matrix& m) {
        EXPECT_TRUE(seen.insert(&m).second) << spec.gguf;
        EXPECT_EQ(m.columns, spec.columns) << spec.gguf;
        rows += m.rows;
    });
    std::int64_t expected = 0;
    for (const TensorSpec& spec : model_tensors(model.config))
        if (spec.kind == TensorSpec::Kind::matrix || spec.kind == TensorSpec::Kind::experts)
            expected += spec.rows * std::max(1, spec.experts);
    EXPECT_EQ(rows, expected);
}

}  // namespace
}  // namespace cachalot
