// Models of V4.1 in the layout of a release, with random weights: everything is found where it lies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "file/safetensors.h"
#include "file/support.h"
#include "model/convert.h"
#include "model/cost.h"
#include "model/gguf_checkpoint.h"
#include "model/model.h"
#include "model/model_parts.h"
#include "model/model_tensors.h"
#include "model/release_record.h"
#include "model/synthetic_release.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

json tiny41() {
    json text = json::parse(read_file(std::filesystem::path(CACHALOT_TEST_DATA) / "config" / "tiny41.json"));
    text["text_config"]["n_routed_experts"] = 4;  // faster to write
    return text;
}

class ModelV41 : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = new test::TemporaryFolder;
        test::TinyRelease make(folder_->path(), tiny41());
    }
    static void TearDownTestSuite() { delete folder_; }
    static const std::filesystem::path& release() { return folder_->path(); }

  private:
    static inline test::TemporaryFolder* folder_ = nullptr;
};

TEST_F(ModelV41, WeightsAreThoseThatTheirLayersHave) {
    const auto model = Model::load(release());
    const Config& c = model->config;
    ASSERT_THAT(model->weights.layers, SizeIs(9));
    for (int l = 0; l < c.layers; ++l) {
        SCOPED_TRACE(l);
        const LayerWeights& w = model->weights.layers[static_cast<std::size_t>(l)];
        const LayerShape& s = c.shape(l);
        const bool keeps = s.kv_source == l;
        EXPECT_EQ(w.attention.compressor.kv.data != nullptr, keeps);
        EXPECT_EQ(w.attention.compressor.gate.data != nullptr, keeps && s.ratio > 1);
        EXPECT_THAT(w.attention.compressor.ape, IsEmpty());
        EXPECT_EQ(w.attention.indexer.k.data != nullptr, keeps);
        EXPECT_THAT(w.attention.indexer.k_norm, SizeIs(keeps ? 64 : 0));
        EXPECT_EQ(w.attention.indexer.q_b.data != nullptr, s.indexer);
        EXPECT_EQ(w.attention.indexer.weights.data != nullptr, s.indexer);
        EXPECT_EQ(w.attention.q_a.fp8_block, 32);
        EXPECT_THAT(w.attention.output_a, SizeIs(3));
        EXPECT_EQ(w.attention.output_a[1].scales - w.attention.output_a[0].scales, 6);
        EXPECT_THAT(w.router_bias_vl, SizeIs(c.experts));
        EXPECT_EQ(w.engram.table.rows, s.engram < 0 ? 0 : c.engram.rows[static_cast<std::size_t>(s.engram)]);
        EXPECT_EQ(w.engram.kv.rows, s.engram < 0 ? 0 : 5 * 96);
        EXPECT_THAT(w.engram.q, SizeIs(s.engram < 0 ? 0 : 4 * 96));
    }
    EXPECT_EQ(model->weights.head_mix.fn.data, nullptr);
    EXPECT_EQ(weight_bytes(c, model->weights).engram, (3144u + 3424u) * 33);
}

// The rows of a table are where it says, in the file that it says.
TEST_F(ModelV41, EngramRowsAreLocated) {
    const auto model = Model::load(release());
    const Safetensors file(release());
    for (int l : {0, 3}) {
        const EngramTable& table = model->weights.layers[static_cast<std::size_t>(l)].engram.table;
        EXPECT_EQ(table.row_bytes(), 33);
        const auto name = fmt::format("layers.{}.engram.embed.", l);
        const std::string values = read_file(table.values.file->path()),
                          scales = read_file(table.scales.file->path());
        for (const std::int64_t r : {std::int64_t{0}, std::int64_t{1}, table.rows - 1}) {
            const auto at = [&](const RowPart& part) {
                return part.offset + static_cast<std::uint64_t>(r * part.stride);
            };
            EXPECT_EQ(values.substr(at(table.values), 32),
                      std::string(
                          reinterpret_cast<const char*>(file.get(name + "weight").data.data()) + 32 * r, 32));
            EXPECT_EQ(scales[at(table.scales)],
                      static_cast<char>(file.get(name + "scale").data[static_cast<std::size_t>(r)]));
            EXPECT_EQ(std::memcmp(table.values.row(r), values.data() + at(table.values), 32), 0);
        }
    }
}

TEST_F(ModelV41, WhatIsBesideTheModelIsNamed) {
    EXPECT_THAT(Checkpoint::open(release())->unused(), HasSubstr("not used: vision (18 tensors, "));
    EXPECT_EQ(part_of("dspark.0.attn_q_a.weight"), ModelPart::drafter);
    EXPECT_EQ(part_of("v.blk.0.attn_qkv.weight"), ModelPart::vision);
    EXPECT_EQ(part_of("mtp.2.ffn.experts.1.w1.weight"), ModelPart::drafter);
    EXPECT_EQ(part_of("aligner.w1.bias"), ModelPart::vision);
    EXPECT_EQ(part_of("image_newline"), ModelPart::vision);
    EXPECT_EQ(part_of("layers.14.engram.embed.scale"), ModelPart::engram);
    EXPECT_EQ(part_of("blk.1.engram_embd.weight"), ModelPart::engram);
    EXPECT_EQ(part_of("layers.14.engram.wkv.weight"), ModelPart::backbone);
    EXPECT_EQ(part_of("blk.43.nextn.eh_proj.weight"), ModelPart::drafter);
}

std::string bytes_of_row(const EngramTable& table, std::int64_t row) {
    std::string bytes;
    for (const RowPart* part : {&table.values, &table.scales})
        bytes.append(reinterpret_cast<const char*>(part->row(row)), static_cast<std::size_t>(part->bytes));
    return bytes;
}

// By way of a GGUF file, where a row's scales lie behind its values, and back.
TEST_F(ModelV41, ConvertedWithoutLossItIsTheSame) {
    const TempDir dir;
    const auto gguf = dir / "m.gguf";
    EXPECT_EQ(convert(*Checkpoint::open(release()), gguf, {.types = {.dense = DType::f8_e4m3}}).changed, 0);
    const auto before = Model::load(release()), after = Model::load(gguf);
    EXPECT_EQ(after->config.layer_shapes, before->config.layer_shapes);
    EXPECT_EQ(after->config.engram, before->config.engram);
    for (const std::size_t l : {std::size_t{0}, std::size_t{3}}) {
        const EngramTable& a = before->weights.layers[l].engram.table;
        const EngramTable& b = after->weights.layers[l].engram.table;
        for (const std::int64_t row : {std::int64_t{0}, std::int64_t{77}, a.rows - 1}) {
            EXPECT_EQ(bytes_of_row(a, row), bytes_of_row(b, row));
            std::vector<float> values(32), others(32);
            a.decode(a.values.row(row), a.scales.row(row), values);
            b.decode(b.values.row(row), b.scales.row(row), others);
            EXPECT_EQ(values, others);
        }
        EXPECT_EQ(before->weights.layers[l].engram.q, after->weights.layers[l].engram.q);
    }
    // A copy of the copy has the same bytes.
    convert(*Checkpoint::open(gguf), dir / "copy.gguf", {.types = {.dense = DType::f8_e4m3}});
    EXPECT_EQ(read_file(dir / "copy.gguf"), read_file(gguf));

    write_release(GgufCheckpoint(gguf), dir / "again");
    const Safetensors first(release()), again(dir / "again");
    for (const StoredTensor& t : first.tensors()) {
        const TensorView& other = again.get(t.view.name);
        EXPECT_TRUE(std::equal(t.view.data.begin(), t.view.data.end(), other.data.begin(), other.data.end()))
            << t.view.name;
    }
}

// Random models in either layout have everything that the table names, and no number that is none.
TEST(SyntheticV41, CanBeLoaded) {
    const TempDir dir;
    const Config config = known_config("v41-tiny");
    write_synthetic(config, {}, dir / "m.gguf");
    write_synthetic_release(config, 1, dir / "release");
    for (const auto& path : {dir / "m.gguf", dir / "release"}) {
        const auto model = Model::load(path);
        EXPECT_EQ(model->config.layer_shapes, config.layer_shapes);
        EXPECT_EQ(model->config.engram, config.engram);
        for (const int layer : config.engram.layers) {
            const EngramTable& table = model->weights.layers[static_cast<std::size_t>(layer)].engram.table;
            std::vector<float> values(static_cast<std::size_t>(table.columns));
            table.decode(table.values.row(table.rows - 1), table.scales.row(table.rows - 1), values);
            for (const float v : values) EXPECT_LT(std::fabs(v), 4);
        }
    }
}

// Tables of true size would fill a disk: their rows are zeros that are not there.
TEST(SyntheticV41, TablesOfZerosTakeNoSpace) {
    const TempDir dir;
    Config config = known_config("v41-tiny");
    set_engram(config, 4'000'000);  // 2 x 6 primes, 0.8 GB of E4M3 and 25 MB of scales each
    SyntheticOptions options;
    options.zero_tables = true;
    const auto gguf = write_synthetic(config, options, dir / "m.gguf");
    const auto release =
        write_synthetic_release(config, 1, dir / "release", {}, kReleaseFileBytes, options.zero_tables);
    const std::uint64_t tables = weight_bytes(config, release_type).engram;
    EXPECT_GT(tables, 1'500'000'000u);
    EXPECT_EQ(gguf.holes, tables);
    EXPECT_EQ(release.holes, tables);
    EXPECT_EQ(std::filesystem::file_size(dir / "m.gguf"), gguf.bytes);
    std::uint64_t used = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path())) {
        struct stat status = {};
        ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
        used += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
    EXPECT_LT(used, 100'000'000u);
    for (const auto& path : {dir / "m.gguf", dir / "release"}) {
        const auto model = Model::load(path);
        EXPECT_EQ(model->config.engram, config.engram);
        for (const int layer : config.engram.layers) {
            const EngramTable& table = model->weights.layers[static_cast<std::size_t>(layer)].engram.table;
            std::vector<float> values(static_cast<std::size_t>(table.columns), 1.0f);
            for (const std::int64_t row : {std::int64_t{0}, table.rows / 2, table.rows - 1}) {
                table.decode(table.values.row(row), table.scales.row(row), values);
                for (const float v : values) EXPECT_EQ(v, 0);
            }
        }
    }
}

// What a plan says of a model that is not there is what the files have.
TEST(SyntheticV41, SizesAreKnownBeforeItIsWritten) {
    const TempDir dir;
    const SyntheticOptions options;
    for (const char* name : {"tiny", "v41-tiny"}) {
        const Config config = known_config(name);
        const auto gguf = dir / (std::string(name) + ".gguf"), release = dir / name;
        write_synthetic(config, options, gguf);
        write_synthetic_release(config, 1, release);
        const TypeOf synthetic = [&](const TensorSpec& spec) { return synthetic_type(spec, options); };
        for (const auto& [path, types] : {std::pair{gguf, synthetic}, {release, TypeOf(release_type)}}) {
            SCOPED_TRACE(path);
            const auto model = Model::load(path);
            const WeightBytes there = weight_bytes(model->config, model->weights),
                              planned = weight_bytes(config, types);
            EXPECT_EQ(planned.embedding, there.embedding);
            EXPECT_EQ(planned.dense, there.dense);
            EXPECT_EQ(planned.shared_experts, there.shared_experts);
            EXPECT_EQ(planned.routed_experts, there.routed_experts);
            EXPECT_EQ(planned.engram, there.engram);
            const TokenCost cost = token_cost(config, types),
                            real = token_cost(model->config, model->weights);
            EXPECT_EQ(cost.bytes, real.bytes);
            EXPECT_EQ(cost.operations, real.operations);
        }
    }
}

// The figures that are known of the release.
TEST(SyntheticV41, TheWholeModelIsAsLargeAsTheRelease) {
    const Config config = known_config("v41-flash");
    const WeightBytes bytes = weight_bytes(config, release_type);
    EXPECT_EQ(bytes.routed_experts, std::uint64_t(40) * 384 * 18'800'640);
    EXPECT_EQ(bytes.engram, (384006168u + 384016682u) * std::uint64_t(264));
    EXPECT_EQ(bytes.embedding, 129280u * 5120 * 2);
    // 298.31 GB and Engram's 203.07 GB, with some vectors that are not counted.
    const std::uint64_t all =
        bytes.routed_experts + bytes.embedding + bytes.dense + bytes.shared_experts + bytes.engram;
    EXPECT_NEAR(static_cast<double>(all), 501.38e9, 0.01e9);
    const TokenCost cost = token_cost(config, release_type);
    EXPECT_NEAR(static_cast<double>(cost.bytes), 13.0e9, 0.3e9);
    EXPECT_NEAR(static_cast<double>(cost.operations) / 2, 16.07e9, 0.1e9);  // active weights
}

TEST_F(ModelV41, WithoutItsTableItIsRefused) {
    const TempDir copy;
    for (const auto& entry : std::filesystem::directory_iterator(release()))
        std::filesystem::copy(entry.path(), copy.path() / entry.path().filename());
    const auto index = copy.path() / "model.safetensors.index.json";
    for (const char* part : {"embed.weight", "embed.scale", "wkv.weight", "q_weight"}) {
        const std::string name = std::string("layers.3.engram.") + part;
        json text = json::parse(read_file(release() / "model.safetensors.index.json"));
        text["weight_map"].erase(name);
        std::ofstream(index) << text;
        EXPECT_THAT(error_of([&] { Model::load(copy.path()); }), HasSubstr(name));
    }
}

// A layer that has what the configuration does not know would be run without.
TEST_F(ModelV41, TensorsOfLayersThatTheConfigurationDoesNotNameAreRefused) {
    const auto with_config = [](const std::filesystem::path& folder, const json& members) {
        json text = tiny41();
        text["text_config"].update(members);
        for (const auto& entry : std::filesystem::directory_iterator(release()))
            std::filesystem::copy(entry.path(), folder / entry.path().filename());
        std::ofstream(folder / "config.json") << text;
    };
    for (const auto& [members, culprit] :
         {std::pair(json{{"engram_layer_ids", json::array()}, {"engram_num_embeddings", json::array()}},
                    "layers.0.engram.wkv.weight gives layer 0 an Engram table"),
          std::pair(json{{"index_source_layer_ids", {1, 3, 5, 8}}},
                    "layers.7.attn.indexer.wq_b.weight gives layer 7 an indexer"),
          std::pair(json{{"compress_ratios", {0, 3, 3, 3, 3, 1, 1, 1, 1}}, {"kv_source_layer_ids", {1, 5}}},
                    "layers.3.attn.compressor.wkv.weight gives layer 3 compressed rows")}) {
        const TempDir copy;
        with_config(copy.path(), members);
        EXPECT_THAT(error_of([&] { Model::load(copy.path()); }), HasSubstr(culprit));
    }
}

TEST_F(ModelV41, TablesOfAnotherVocabularyAreRefused) {
    json text = tiny41();
    text["text_config"]["engram_compressed_vocab_size"] = 6971;
    const TempDir copy;
    for (const auto& entry : std::filesystem::directory_iterator(release()))
        std::filesystem::copy(entry.path(), copy.path() / entry.path().filename());
    std::ofstream(copy.path() / "config.json") << text;
    EXPECT_THAT(error_of([&] { Model::load(copy.path()); }),
                testing::AllOf(testing::StartsWith(copy.path().string()), HasSubstr("has 6972 classes")));
}

TEST_F(ModelV41, TablesOfAnotherShapeAreRefused) {
    json text = tiny41();
    text["text_config"]["engram_head_dim"] = 64;
    const TempDir copy;
    for (const auto& entry : std::filesystem::directory_iterator(release()))
        std::filesystem::copy(entry.path(), copy.path() / entry.path().filename());
    std::ofstream(copy.path() / "config.json") << text;
    EXPECT_THAT(error_of([&] { Model::load(copy.path()); }),
                HasSubstr("layers.0.engram.embed.weight has type f8_e4m3 and shape [3144, 32]"));
}

}  // namespace
}  // namespace cachalot
