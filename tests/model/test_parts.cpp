// What stands beside the layers of a model: drafter, vision model and Engram tables, through GGUF files and
// back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <utility>

#include "base/error.h"
#include "file/gguf.h"
#include "file/gguf_writer.h"
#include "file/safetensors.h"
#include "file/support.h"
#include "model/convert.h"
#include "model/gguf_checkpoint.h"
#include "model/model.h"
#include "model/part_tensors.h"
#include "model/release_record.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

const fs::path kRelease = CACHALOT_TEST_DATA "/tiny41";
const std::string kKeys = "deepseek41.";

class ModelParts : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = new TempDir;
        convert(*Checkpoint::open(kRelease), whole(), {.types = {.dense = DType::f8_e4m3}, .threads = 2});
        convert(*Checkpoint::open(kRelease), without_tables(),
                {.types = {.dense = DType::f8_e4m3}, .engram = tables(), .threads = 2});
    }
    static void TearDownTestSuite() { delete folder_; }
    static fs::path whole() { return *folder_ / "whole.gguf"; }
    static fs::path without_tables() { return *folder_ / "main.gguf"; }
    static fs::path tables() { return *folder_ / "tables.gguf"; }

    using Change = std::function<void(GgufWriter&)>;

    // The tensors of `from` that `take` says, with its keys and those that `change` sets.
    template <class Take>
    void write(const fs::path& path, const Gguf& from, const Take& take, const Change& change = {}) {
        GgufWriter writer(path);
        for (const auto& value : from.metadata().values())
            if (!GgufWriter::is_container_key(value.key)) writer.copy(value);
        if (change) change(writer);
        for (const auto& t : from.tensors())
            if (take(t.view.name)) writer.declare(t.view.name, t.view.dtype, t.view.shape);
        for (const auto& t : from.tensors())
            if (take(t.view.name)) writer.append(t.view.name, t.view.data);
        writer.finish();
    }
    // The whole model with these keys changed, and what is said of it.
    void load_with(const Change& change) {
        write(
            dir / "m.gguf", Gguf(whole()), [](const std::string&) { return true; }, change);
        Model::load(dir / "m.gguf");
    }
    std::string refused(const Change& change) {
        return error_of([&] { load_with(change); });
    }

    TempDir dir;

  private:
    static inline TempDir* folder_ = nullptr;
};

TEST_F(ModelParts, ThereAndBackGivesTheSameFiles) {
    const auto summary = write_release(GgufCheckpoint(whole()), dir / "back");
    EXPECT_EQ(summary.left_out, 0);
    EXPECT_EQ(summary.tensors, std::ssize(Safetensors(kRelease).tensors()));
    int files = 0;
    for (const auto& entry : fs::directory_iterator(kRelease)) {
        EXPECT_EQ(read_file(dir / "back" / entry.path().filename().string()), read_file(entry.path()))
            << entry.path();
        ++files;
    }
    EXPECT_EQ(summary.files, files);
    // The same from a file without the tables and the file with them.
    write_release(GgufCheckpoint(without_tables(), tables()), dir / "again");
    EXPECT_EQ(read_file(dir / "again" / "model.safetensors"), read_file(kRelease / "model.safetensors"));
}

TEST_F(ModelParts, SettingsAreThoseOfTheRelease) {
    const auto release = Checkpoint::open(kRelease), file = Checkpoint::open(whole());
    EXPECT_TRUE(file->config().dspark.present());
    EXPECT_TRUE(file->config().vision.present());
    EXPECT_EQ(file->config(), release->config());
    EXPECT_TRUE(has_drafter(*file));
    EXPECT_TRUE(has_vision(*file));
    EXPECT_THAT(file->unused(), AllOf(Not(HasSubstr("drafter")), HasSubstr("vision (18 tensors")));
}

std::span<const std::byte> bytes_of(const Matrix& m) {
    return {m.data, static_cast<std::size_t>(m.rows * m.stride)};
}

// From either kind of file.
TEST_F(ModelParts, TheDrafterIsBoundWithTheTableOfTheLayers) {
    const auto release = Checkpoint::open(kRelease), file = Checkpoint::open(whole());
    Weights a = bind_weights(*release), b = bind_weights(*file);
    bind_drafter(*release, a);
    bind_drafter(*file, b);
    for (const Weights* w : {&a, &b}) {
        const DrafterWeights& d = w->drafter;
        EXPECT_EQ(d.input.columns, 2 * 96);
        EXPECT_THAT(d.confidence, SizeIs(96 + 24));
        EXPECT_EQ(d.markov_embedding.columns, 24);
        EXPECT_EQ(d.head_mix.fn.data, nullptr);
        ASSERT_THAT(d.stages, SizeIs(2));
        for (const LayerWeights& stage : d.stages) {
            EXPECT_THAT(stage.experts, SizeIs(6));
            EXPECT_THAT(stage.router_bias, SizeIs(6));
            EXPECT_THAT(stage.router_bias_vl, SizeIs(6));
            EXPECT_THAT(stage.attention.output_a, SizeIs(3));
            EXPECT_EQ(stage.attention.compressor.kv.data, nullptr);
            EXPECT_EQ(stage.attention.indexer.q_b.data, nullptr);
        }
    }
    EXPECT_TRUE(std::ranges::equal(bytes_of(a.drafter.markov_head), bytes_of(b.drafter.markov_head)));
    EXPECT_TRUE(std::ranges::equal(bytes_of(a.drafter.stages[1].attention.q_b),
                                   bytes_of(b.drafter.stages[1].attention.q_b)));
    EXPECT_EQ(a.drafter.norm, b.drafter.norm);
    EXPECT_EQ(a.drafter.confidence, b.drafter.confidence);
}

TEST_F(ModelParts, RecipesRoundTheDrafterAndKeepPictures) {
    for (const char* recipe : {"mxfp4", "q2"}) {
        convert(*Checkpoint::open(kRelease), dir / "m.gguf", {.types = {.recipe = recipe}, .threads = 2});
        const Gguf m(dir / "m.gguf");
        EXPECT_EQ(m.get("dspark.fc.weight").dtype, DType::q8_0);
        EXPECT_EQ(m.get("dspark.1.attn_q_a.weight").dtype, DType::q8_0);
        EXPECT_EQ(m.get("dspark.1.ffn_up_shexp.weight").dtype, DType::q8_0);
        EXPECT_EQ(m.get("dspark.0.ffn_gate_exps.weight").dtype, DType::mxfp4);
        EXPECT_EQ(m.get("dspark.0.ffn_gate_inp.weight").dtype, DType::bf16);
        EXPECT_EQ(m.get("dspark.markov_w2.weight").dtype, DType::bf16);
        EXPECT_EQ(m.get("v.blk.0.attn_qkv.weight").dtype, DType::bf16);
        EXPECT_EQ(m.get("v.patch_embd.weight").dtype, DType::bf16);
        fs::remove(dir / "m.gguf");
    }
    // A class of tensors is one in the drafter, too.
    convert(*Checkpoint::open(kRelease), dir / "m.gguf",
            {.types = {.experts = DType::q5_0, .dense = DType::bf16}, .threads = 2});
    EXPECT_EQ(Gguf(dir / "m.gguf").get("dspark.0.ffn_down_exps.weight").dtype, DType::q5_0);
    EXPECT_EQ(Gguf(dir / "m.gguf").get("dspark.fc.weight").dtype, DType::bf16);
}

TEST_F(ModelParts, PartsMayBeLeftOut) {
    convert(*Checkpoint::open(whole()), dir / "m.gguf",
            {.types = {.dense = DType::f8_e4m3}, .leave_out_drafter = true, .leave_out_vision = true});
    const Gguf file(dir / "m.gguf");
    for (const auto& value : file.metadata().values()) {
        EXPECT_FALSE(value.key.starts_with(kKeys + "dspark.")) << value.key;
        EXPECT_FALSE(value.key.starts_with(kKeys + "vision.")) << value.key;
    }
    const auto model = Model::load(dir / "m.gguf");
    EXPECT_EQ(model->checkpoint->unused(), "");
    EXPECT_FALSE(model->config.dspark.present());
    const auto left_out = write_release(GgufCheckpoint(dir / "m.gguf"), dir / "back").left_out;
    EXPECT_EQ(left_out,
              std::ssize(Safetensors(kRelease).tensors()) - std::ssize(Safetensors(dir / "back").tensors()));
}

// Tools that make files smaller leave the settings; but half a drafter is an error.
TEST_F(ModelParts, SettingsOfAPartThatIsNotThereMeanNothing) {
    const Gguf file(whole());
    const auto text = [](const std::string& name) {
        return !name.starts_with("dspark.") && !name.starts_with("v.");
    };
    write(dir / "m.gguf", file, text);
    const auto model = Model::load(dir / "m.gguf");
    EXPECT_FALSE(has_drafter(*model->checkpoint));
    EXPECT_FALSE(has_vision(*model->checkpoint));
    convert(*model->checkpoint, dir / "copy.gguf", {});
    EXPECT_FALSE(Gguf(dir / "copy.gguf").metadata().contains(kKeys + "dspark.stage_count"));

    write(dir / "half.gguf", file, [](const std::string& name) { return name != "dspark.1.attn_kv.weight"; });
    EXPECT_THAT(error_of([&] { convert(*Checkpoint::open(dir / "half.gguf"), dir / "x.gguf", {}); }),
                HasSubstr("dspark.1.attn_kv.weight"));
}

TEST_F(ModelParts, WrongSettingsAreRefusedByName) {
    const std::pair<const char*, std::uint32_t> wrong[] = {
        {"dspark.stage_count", 5000},    {"dspark.block_size", 0},        {"dspark.noise_token_id", 8192},
        {"dspark.markov_rank", 0},       {"dspark.expert_count", 0},      {"dspark.expert_used_count", 7},
        {"vision.block_count", 1 << 20}, {"vision.embedding_length", 0},  {"vision.attention.head_count", 0},
        {"vision.patch_size", 1 << 20},  {"vision.downsample_ratio", 65}, {"vision.max_tokens", 0},
        {"vision.token_id", 8192},       {"vision.min_pixels", 1u << 31}, {"vision.feed_forward_length", 0},
    };
    for (const auto& [key, value] : wrong)
        EXPECT_THAT(
            refused([key = key, value = value](GgufWriter& w) { w.set<std::uint32_t>(kKeys + key, value); }),
            HasSubstr(fmt::format("'{}{}'", kKeys, key)));
    for (const auto& layers : {std::vector<std::int32_t>{6, 9}, std::vector<std::int32_t>{-1}})
        EXPECT_THAT(refused([&](GgufWriter& w) {
                        w.set_array<std::int32_t>(kKeys + "dspark.target_layers", layers);
                    }),
                    HasSubstr("dspark.target_layers"));
    EXPECT_THAT(refused([&](GgufWriter& w) {
                    w.set_array<std::int32_t>(kKeys + "dspark.target_layers", std::vector<std::int32_t>());
                }),
                HasSubstr("layers that the drafter reads"));
    EXPECT_THAT(refused([&](GgufWriter& w) { w.set<float>(kKeys + "vision.rope.freq_base", 0.5f); }),
                HasSubstr("rope theta of the vision model"));
    EXPECT_THAT(refused([&](GgufWriter& w) { w.remove(kKeys + "dspark.markov_rank"); }),
                AllOf(HasSubstr("dspark.markov_rank"), HasSubstr("missing")));
}

// Each of them says once more what follows from the others and from the tokenizer.
TEST_F(ModelParts, EngramKeysThatDoNotFollowAreRefusedByName) {
    const Gguf file(whole());
    load_with({});
    for (const char* name : {"multipliers", "primes", "offsets"}) {
        const std::string key = kKeys + "engram." + name;
        auto values = file.metadata().get<std::vector<std::uint64_t>>(key);
        values.back() += 6;  // the next prime after the last one, 587; multipliers stay odd
        EXPECT_THAT(refused([&](GgufWriter& w) { w.set_array<std::uint64_t>(key, values); }),
                    HasSubstr("'" + key + "'"));
        values.pop_back();
        EXPECT_THAT(refused([&](GgufWriter& w) { w.set_array<std::uint64_t>(key, values); }),
                    HasSubstr("'" + key + "'"));
    }
    const std::string map = kKeys + "engram.token_map";
    auto classes = file.metadata().get<std::vector<std::int32_t>>(map);
    classes[100] += 1;
    EXPECT_THAT(refused([&](GgufWriter& w) { w.set_array<std::int32_t>(map, classes); }),
                AllOf(HasSubstr("'" + map + "'"), HasSubstr("entry 100")));
    const std::pair<const char*, std::uint32_t> wrong[] = {
        {"pad_id", 3},      {"compressed_vocab_size", 6971}, {"head_count", 4},
        {"key_length", 64}, {"max_ngram_size", 4},           {"pad_token_id", 5}};
    for (const auto& [name, value] : wrong) {
        const std::string key = kKeys + "engram." + name;
        const auto message =
            refused([&key, value = value](GgufWriter& w) { w.set<std::uint32_t>(key, value); });
        EXPECT_THAT(message, HasSubstr("'" + kKeys + "engram.")) << name;
    }
    EXPECT_THAT(refused([&](GgufWriter& w) {
                    w.set_array<std::int32_t>(kKeys + "engram.layer_ids", std::vector{0, 4});
                }),
                HasSubstr("gives layer 3 an Engram table"));
    // What a file does not say is no error.
    for (const char* name : {"token_map", "pad_id", "offsets", "compressed_vocab_size"})
        EXPECT_NO_THROW(load_with([&](GgufWriter& w) { w.remove(kKeys + "engram." + name); })) << name;
}

std::string row_of(const EngramTable& table, std::int64_t row) {
    std::string bytes;
    for (const RowPart* part : {&table.values, &table.scales})
        bytes.append(reinterpret_cast<const char*>(part->row(row)), static_cast<std::size_t>(part->bytes));
    return bytes;
}

TEST_F(ModelParts, EngramTablesMayHaveAFileOfTheirOwn) {
    EXPECT_LT(fs::file_size(without_tables()) + 6568 * 33, fs::file_size(whole()));
    const auto model = Model::load(without_tables(), {.engram = tables()}), other = Model::load(whole());
    EXPECT_THAT(model->checkpoint->files(), SizeIs(2));
    for (const std::size_t layer : {0u, 3u}) {
        const EngramTable& a = model->weights.layers[layer].engram.table;
        const EngramTable& b = other->weights.layers[layer].engram.table;
        EXPECT_EQ(a.values.file->path(), tables().string());
        for (const std::int64_t row : {std::int64_t{0}, std::int64_t{77}, a.rows - 1})
            EXPECT_EQ(row_of(a, row), row_of(b, row));
    }
    // Put together again.
    convert(*model->checkpoint, dir / "m.gguf", {.types = {.dense = DType::f8_e4m3}});
    EXPECT_EQ(read_file(dir / "m.gguf"), read_file(whole()));
}

TEST_F(ModelParts, WhichFileIsMissingIsSaid) {
    EXPECT_THAT(error_of([&] { Model::load(without_tables()); }),
                AllOf(HasSubstr("main.gguf"), HasSubstr("blk.0.engram_embd.weight"), HasSubstr("--engram")));
    EXPECT_THAT(error_of([&] { Model::load(tables()); }), HasSubstr("the Engram tables of a model"));
    EXPECT_THAT(error_of([&] { Model::load(whole(), {.engram = tables()}); }),
                HasSubstr("has its Engram tables itself"));
    EXPECT_THAT(error_of([&] { Model::load(kRelease, {.engram = tables()}); }), HasSubstr("is a release"));
    EXPECT_THAT(error_of([&] { Model::load(without_tables(), {.engram = without_tables()}); }),
                HasSubstr("has no tensor blk.0.engram_embd.weight"));
    EXPECT_THAT(error_of([&] { Model::load(without_tables(), {.engram = dir / "none.gguf"}); }),
                HasSubstr("none.gguf"));
    const fs::path v4 = CACHALOT_MODELS "/nano/nano.gguf";
    EXPECT_THAT(error_of([&] { Model::load(v4, {.engram = tables()}); }),
                HasSubstr("has no use for Engram tables"));
    EXPECT_THAT(error_of([&] { convert(*Checkpoint::open(v4), dir / "x.gguf", {.engram = dir / "y.gguf"}); }),
                HasSubstr("has no Engram tables"));
}

TEST_F(ModelParts, TablesOfAnotherModelAreRefusedByName) {
    const Gguf file(tables());
    const auto all = [](const std::string&) { return true; };
    const std::string key = kKeys + "engram.multipliers";
    auto values = file.metadata().get<std::vector<std::uint64_t>>(key);
    values[0] += 2;
    write(dir / "t.gguf", file, all, [&](GgufWriter& w) { w.set_array<std::uint64_t>(key, values); });
    EXPECT_THAT(error_of([&] { Model::load(without_tables(), {.engram = dir / "t.gguf"}); }),
                AllOf(HasSubstr("t.gguf"), HasSubstr("'" + key + "'"), HasSubstr("another model")));
    write(dir / "t.gguf", file, all,
          [&](GgufWriter& w) { w.set<std::uint32_t>(kKeys + "engram.key_length", 64); });
    EXPECT_THAT(error_of([&] { Model::load(without_tables(), {.engram = dir / "t.gguf"}); }),
                HasSubstr("engram.key_length"));
}

TEST_F(ModelParts, EngramMayBeInALaterPartOfASplitFile) {
    const Gguf file(whole());
    const auto is_table = [](const std::string& name) { return name.find("engram_embd") != name.npos; };
    const auto numbered = [](std::uint16_t number) {
        return [number](GgufWriter& w) {
            w.set<std::uint16_t>("SPLIT.no", number);
            w.set<std::uint16_t>("SPLIT.count", 2);
        };
    };
    // The writer does not write parts; keys of the same length take the place of those that make one.
    const auto make_part = [](const fs::path& path) {
        std::string bytes = read_file(path);
        for (std::size_t at = 0; (at = bytes.find("SPLIT.", at)) != std::string::npos; ++at)
            bytes.replace(at, 6, "split.");
        std::ofstream(path, std::ios::binary) << bytes;
    };
    write(
        dir / "m-00001-of-00002.gguf", file, [&](const std::string& n) { return !is_table(n); }, numbered(0));
    write(dir / "m-00002-of-00002.gguf", file, is_table, numbered(1));
    for (const char* part : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}) make_part(dir / part);
    const auto split = Model::load(dir / "m-00001-of-00002.gguf"), one = Model::load(whole());
    const EngramTable& a = split->weights.layers[3].engram.table;
    const EngramTable& b = one->weights.layers[3].engram.table;
    EXPECT_THAT(a.values.file->path(), HasSubstr("m-00002-of-00002.gguf"));
    EXPECT_EQ(row_of(a, a.rows - 1), row_of(b, b.rows - 1));
}

}  // namespace
}  // namespace cachalot
