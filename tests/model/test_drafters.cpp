// Drafters of every kind: in the files of their model and beside them, from a release to GGUF and back, and
// what does not suit a model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <variant>

#include "base/error.h"
#include "file/gguf.h"
#include "file/gguf_writer.h"
#include "file/safetensors.h"
#include "file/support.h"
#include "model/content_fingerprint.h"
#include "model/convert.h"
#include "model/draft_model.h"
#include "model/fingerprint.h"
#include "model/gguf_checkpoint.h"
#include "model/model.h"
#include "model/part_tensors.h"
#include "model/release_record.h"
#include "support/tiny_release.h"
#include "tensor/convert.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

const fs::path kV41 = CACHALOT_TEST_DATA "/tiny41";

json with_dspark(json config = test::tiny_config()) {
    for (int stage = 0; stage < 3; ++stage) config["compress_ratios"].push_back(0);
    config["num_nextn_predict_layers"] = 1;  // as in the releases, whatever the number of stages
    config["dspark_block_size"] = 5;
    config["dspark_noise_token_id"] = 202;
    config["dspark_target_layer_ids"] = {1, 2, 3};
    config["dspark_markov_rank"] = 32;
    return config;
}
json with_mtp(json config = test::tiny_config()) {
    config["compress_ratios"].push_back(0);
    config["num_nextn_predict_layers"] = 1;
    return config;
}

bool of_drafter(const std::string& name) { return name.starts_with("mtp."); }

// The tensors of a release that `take` says, with its configuration.
void write_part(const fs::path& release, const fs::path& folder,
                const std::function<bool(const std::string&)>& take = of_drafter) {
    fs::create_directory(folder);
    fs::copy_file(release / "config.json", folder / "config.json");
    nlohmann::ordered_json header;
    std::string data;
    const Safetensors from(release);
    for (const StoredTensor& t : from.tensors()) {
        if (!take(t.view.name)) continue;
        const std::size_t begin = data.size();
        data.append(reinterpret_cast<const char*>(t.view.data.data()), t.view.data.size());
        header[t.view.name] = {
            {"dtype", t.type}, {"shape", t.view.shape}, {"data_offsets", {begin, data.size()}}};
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::uint64_t size = text.size();
    std::ofstream out(folder / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&size), sizeof size);
    out << text << data;
}

// All values of a drafter, whatever the types that they are stored as.
struct Values {
    std::vector<float>& all;

    void operator()(const Matrix* m) const {
        for (std::int64_t r = 0; r < m->rows; ++r) {
            std::vector<float> row(static_cast<std::size_t>(m->columns));
            dequantize_row(*m, r, row);
            all.insert(all.end(), row.begin(), row.end());
        }
    }
    void operator()(const SlicedMember& member) const {
        for (const Matrix& m : *member.slices) (*this)(&m);
    }
    void operator()(const ExpertMember& member) const {
        for (const ExpertWeights& e : *member.experts) (*this)(&(e.*member.matrix));
    }
    void operator()(const std::vector<float>* floats) const {
        all.insert(all.end(), floats->begin(), floats->end());
    }
    void operator()(const EngramTable*) const { FAIL(); }
    void operator()(const std::vector<std::int32_t>*) const { FAIL(); }
};

std::vector<float> values_of(const Config& config, const DraftModel& draft) {
    Weights weights;
    weights.drafter = draft.parts;
    weights.drafter.stages = draft.weights.layers;
    std::vector<float> all;
    for (const TensorSpec& spec : drafter_tensors(config)) std::visit(Values{all}, spec.member(weights));
    return all;
}

std::int64_t count_of(const Config& config) {
    std::int64_t values = 0;
    for (const TensorSpec& s : drafter_tensors(config)) values += s.rows * s.columns * std::max(1, s.experts);
    return values;
}

class Drafters : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = new TempDir;
        make("plain", test::tiny_config());
        make("dspark", with_dspark());
        make("mtp", with_mtp());
        for (const std::string kind : {"dspark", "mtp"}) {
            write_part(in(kind), in(kind + "-only"));
            convert(*Checkpoint::open(in(kind)), in(kind + ".gguf"), kept());
            convert(*Checkpoint::open(in(kind + "-only")), in(kind + "-only.gguf"), kept());
        }
        convert(*Checkpoint::open(in("plain")), in("plain.gguf"), kept());
    }
    static void TearDownTestSuite() { delete folder_; }
    static fs::path in(const std::string& name) { return *folder_ / name; }
    static void make(const std::string& name, const json& config) {
        fs::create_directory(in(name));
        test::TinyRelease release(in(name), config);
    }
    static ConvertOptions kept() { return {.types = {.dense = DType::f8_e4m3}, .threads = 2}; }

    // The release of this folder through a GGUF file and back.
    void there_and_back(const fs::path& release) {
        convert(*Checkpoint::open(release), dir / "t.gguf", kept());
        const auto source = Checkpoint::open(release);
        Config expected = source->config();
        if (is_drafter_only(*source)) expected.vision = {};  // of which nothing is there
        EXPECT_EQ(Checkpoint::open(dir / "t.gguf")->config(), expected);
        const auto summary = write_release(GgufCheckpoint(dir / "t.gguf"), dir / "back");
        EXPECT_EQ(summary.left_out, 0);
        EXPECT_EQ(summary.added, 0);
        for (const auto& entry : fs::directory_iterator(release))
            EXPECT_EQ(read_file(dir / "back" / entry.path().filename().string()), read_file(entry.path()))
                << entry.path();
        fs::remove_all(dir / "back");
        fs::remove(dir / "t.gguf");
    }

    // Puts a drafter beside the model without one.
    static void load_with(const fs::path& drafter) { Model::load(in("plain"), {.drafter = drafter}); }
    // The same with a drafter for a model of another configuration.
    static void load_with(const json& config) {
        const TempDir folder;
        fs::create_directory(folder / "whole");
        test::TinyRelease release(folder / "whole", config);
        write_part(folder / "whole", folder / "part");
        load_with(folder / "part");
    }
    // The file with other metadata, as m.gguf.
    void rewrite(const Gguf& file, const std::function<void(GgufWriter&)>& change) {
        GgufWriter writer(dir / "m.gguf");
        for (const auto& value : file.metadata().values())
            if (!GgufWriter::is_container_key(value.key)) writer.copy(value);
        change(writer);
        for (const auto& t : file.tensors()) writer.declare(t.view.name, t.view.dtype, t.view.shape);
        for (const auto& t : file.tensors()) writer.append(t.view.name, t.view.data);
        writer.finish();
    }
    static std::string refused(const auto& drafter) {
        return error_of([&] { load_with(drafter); });
    }
    std::string refused_without(const std::string& tensor) {
        const fs::path folder = dir / "without";
        write_part(in("dspark"), folder,
                   [&](const std::string& name) { return of_drafter(name) && !name.starts_with(tensor); });
        const std::string message = refused(folder);
        fs::remove_all(folder);
        return message;
    }

    TempDir dir;

  private:
    static inline TempDir* folder_ = nullptr;
};

TEST_F(Drafters, KindsAreToldApartByTheirKeys) {
    const auto read = [](const json& text) { return config_from_json(text.dump(), "c"); };
    EXPECT_EQ(read(test::tiny_config()).drafter(), DrafterKind::none);
    const Config mtp = read(with_mtp()), dspark = read(with_dspark());
    EXPECT_EQ(mtp.drafter(), DrafterKind::mtp);
    EXPECT_EQ(drafter_stages(mtp).layers, 1);
    EXPECT_EQ(drafter_stages(mtp).experts, 4);
    EXPECT_EQ(dspark.drafter(), DrafterKind::dspark);
    EXPECT_EQ(drafter_stages(dspark).layers, 3);
    for (const Config& stages : {drafter_stages(mtp), drafter_stages(dspark)}) {
        EXPECT_EQ(stages.drafter(), DrafterKind::none);
        EXPECT_EQ(stages.hash_layers(), 0);
        for (const LayerShape& shape : stages.layer_shapes) EXPECT_EQ(shape, LayerShape());
        EXPECT_NO_THROW(validate(stages, "stages"));
    }
    json two = with_mtp(), compressed = with_mtp(), odd = with_mtp();
    two["num_nextn_predict_layers"] = 2;  // no release has that
    EXPECT_EQ(read(two).drafter(), DrafterKind::none);
    compressed["compress_ratios"].back() = 4;
    EXPECT_THAT(error_of([&] { read(compressed); }), HasSubstr("compress_ratios"));
    odd["num_nextn_predict_layers"] = "1";
    EXPECT_THAT(error_of([&] { read(odd); }), HasSubstr("num_nextn_predict_layers"));
}

TEST_F(Drafters, ThereAndBackGivesTheSameFiles) {
    for (const char* name : {"dspark", "mtp", "dspark-only", "mtp-only"}) there_and_back(in(name));
    write_part(kV41, dir / "v41-only");
    there_and_back(dir / "v41-only");  // the whole one is in test_parts.cpp
}

TEST_F(Drafters, AFileOfItsOwnHasNothingElse) {
    for (const std::string kind : {"dspark", "mtp"}) {
        const auto folder = Checkpoint::open(in(kind + "-only")),
                   file = Checkpoint::open(in(kind + "-only.gguf"));
        EXPECT_TRUE(is_drafter_only(*folder));
        EXPECT_TRUE(is_drafter_only(*file));
        EXPECT_FALSE(is_drafter_only(*Checkpoint::open(in(kind))));
        EXPECT_FALSE(is_drafter_only(*Checkpoint::open(in(kind + ".gguf"))));
        const Gguf gguf(in(kind + "-only.gguf"));
        for (const StoredTensor& t : gguf.tensors())
            EXPECT_TRUE(t.view.name.starts_with(kind + ".")) << t.view.name;
        for (const char* path : {"-only", "-only.gguf"})
            EXPECT_THAT(error_of([&] { Model::load(in(kind + path)); }),
                        AllOf(HasSubstr(in(kind + path).string()), HasSubstr("without its model"),
                              HasSubstr("--draft-model")));
        // Converted once more.
        convert(*file, dir / "again.gguf", kept());
        EXPECT_EQ(read_file(dir / "again.gguf"), read_file(in(kind + "-only.gguf")));
        fs::remove(dir / "again.gguf");
    }
}

// Inside a release or a GGUF file, and beside a model as either, or in another whole model.
TEST_F(Drafters, AreBoundAlikeFromEveryFile) {
    for (const std::string kind : {"dspark", "mtp"}) {
        const auto inside = Model::load(in(kind));
        const Config& config = inside->config;
        ASSERT_TRUE(inside->draft);
        EXPECT_EQ(inside->draft->kind, config.drafter());
        EXPECT_EQ(inside->draft->beside, nullptr);
        EXPECT_TRUE(inside->draft->files().empty());
        const std::vector<float> expected = values_of(config, *inside->draft);
        EXPECT_EQ(std::ssize(expected), count_of(config));

        std::vector<std::shared_ptr<const Model>> others = {Model::load(in(kind + ".gguf"))};
        for (const char* path : {"-only", "-only.gguf", "", ".gguf"}) {
            others.push_back(Model::load(in("plain"), {.drafter = in(kind + path)}));
            const DraftModel& draft = *others.back()->draft;
            EXPECT_EQ(draft.weights.embedding.data, others.back()->weights.embedding.data);
            EXPECT_EQ(draft.weights.head.data, others.back()->weights.head.data);
            ASSERT_TRUE(draft.beside);
            EXPECT_EQ(draft.files().data(), draft.beside->files().data());
            EXPECT_FALSE(draft.files().empty());
        }
        for (const auto& model : others) {
            ASSERT_TRUE(model->draft);
            EXPECT_EQ(model->draft->kind, config.drafter());
            EXPECT_EQ(model->draft->dspark, config.dspark);
            EXPECT_EQ(values_of(config, *model->draft), expected);
        }
    }
    EXPECT_FALSE(Model::load(in("plain"))->draft);
    // The one that is named counts, also where the model has one of its own.
    const auto named = Model::load(in("mtp"), {.drafter = in("dspark-only")});
    EXPECT_EQ(named->draft->kind, DrafterKind::dspark);
}

TEST_F(Drafters, MtpHasItsInputs) {
    const auto model = Model::load(in("mtp"));
    const DrafterWeights& parts = model->draft->parts;
    EXPECT_THAT(parts.embedding_norm, SizeIs(64));
    EXPECT_THAT(parts.hidden_norm, SizeIs(64));
    EXPECT_NE(parts.embedding_norm, parts.hidden_norm);
    for (const Matrix* m : {&parts.embedding_input, &parts.hidden_input}) {
        EXPECT_EQ(m->rows, 64);
        EXPECT_EQ(m->columns, 64);
    }
    EXPECT_NE(parts.embedding_input.data, parts.hidden_input.data);
    EXPECT_EQ(parts.markov_head.data, nullptr);
    ASSERT_THAT(model->draft->weights.layers, SizeIs(1));
    EXPECT_THAT(model->draft->weights.layers[0].router_bias, SizeIs(4));
    EXPECT_EQ(model->draft->weights.head_mix.fn.rows, kStreams);
}

TEST_F(Drafters, BesideAModelDoNotMakeItAnother) {
    const auto without = Model::load(in("plain"));
    const auto with = Model::load(in("plain"), {.drafter = in("dspark-only")});
    EXPECT_EQ(model_fingerprint(*with), model_fingerprint(*without));
    EXPECT_EQ(*content_fingerprint(*with), *content_fingerprint(*without));
    EXPECT_EQ(with->config, without->config);
    EXPECT_EQ(with->checkpoint->files().size(), without->checkpoint->files().size());
}

TEST_F(Drafters, OfOtherModelsAreRefusedByName) {
    const auto other = [](const char* key, const json& value) {
        json config = test::tiny_config();
        config[key] = value;
        return with_dspark(config);
    };
    const auto says = [](const std::string& key, int theirs, int ours) {
        return AllOf(HasSubstr("part: "), HasSubstr(fmt::format("{} is {}, ", key, theirs)),
                     HasSubstr(fmt::format("plain it is {};", ours)), HasSubstr("--draft-model"));
    };
    EXPECT_NO_THROW(load_with(with_dspark()));
    EXPECT_THAT(refused(other("vocab_size", 8256)), says("vocab_size", 8256, 8192));
    EXPECT_THAT(refused(other("hidden_size", 128)), says("hidden_size", 128, 64));
    EXPECT_THAT(refused(other("head_dim", 192)), says("head_dim", 192, 128));
    EXPECT_THAT(refused(other("qk_rope_head_dim", 128)), says("qk_rope_head_dim", 128, 64));
    EXPECT_THAT(refused(other("sliding_window", 64)), says("sliding_window", 64, 128));
    json deeper = test::tiny_config();
    deeper["num_hidden_layers"] = 6;
    deeper["compress_ratios"] = {0, 4, 128, 4, 128, 4};
    deeper = with_dspark(deeper);
    EXPECT_NO_THROW(load_with(deeper));  // what it reads is there
    deeper["dspark_target_layer_ids"] = {1, 2, 4};
    EXPECT_THAT(refused(deeper), AllOf(HasSubstr("dspark_target_layer_ids names layer 4"),
                                       HasSubstr("has 4 layers"), HasSubstr("--draft-model")));
    EXPECT_THAT(refused(kV41), AllOf(HasSubstr("deepseek41"), HasSubstr("--draft-model")));
    json none = with_dspark();
    none["n_shared_experts"] = 0;
    EXPECT_THAT(error_of([&] { config_from_json(none.dump(), "c"); }), HasSubstr("0 shared experts"));
}

TEST_F(Drafters, WithOtherTokensAreRefusedByName) {
    const Gguf whole(in("dspark.gguf"));
    const auto tokens = whole.metadata().get<std::vector<std::string_view>>("tokenizer.ggml.tokens");
    std::vector<std::string> changed(tokens.begin(), tokens.end());
    std::swap(changed[changed.size() - 1], changed[changed.size() - 2]);
    rewrite(whole, [&](GgufWriter& w) { w.set_strings("tokenizer.ggml.tokens", changed); });
    EXPECT_THAT(refused(dir / "m.gguf"),
                AllOf(HasSubstr("m.gguf: token 8190 is "), HasSubstr("--draft-model")));
}

TEST_F(Drafters, ThatAreNotThereAreRefusedByName) {
    EXPECT_THAT(refused(in("plain")),
                AllOf(HasSubstr("plain: has no drafter"), HasSubstr("dspark_*"), HasSubstr("--draft-model")));
    EXPECT_THAT(refused(in("plain.gguf")), HasSubstr("plain.gguf: has no drafter"));
    EXPECT_THAT(refused(dir / "none.gguf"), AllOf(HasSubstr("none.gguf"), HasSubstr("--draft-model")));
    EXPECT_THAT(refused_without("mtp.0.main_proj."),
                AllOf(HasSubstr("has no drafter"), HasSubstr("dspark.fc.weight")));
    for (const char* tensor : {"mtp.1.ffn.shared_experts.w1.weight", "mtp.0.attn.wq_b.scale",
                               "mtp.2.ffn.experts.3.w2.weight", "mtp.2.hc_head_fn", "mtp.2.norm.weight",
                               "mtp.2.markov_head.markov_w1.weight", "mtp.2.confidence_head.proj.weight"})
        EXPECT_THAT(refused_without(tensor),
                    AllOf(HasSubstr("without"), HasSubstr(tensor), HasSubstr("--draft-model")));
}

TEST_F(Drafters, KeysThatContradictAreRefusedByName) {
    const Gguf file(in("mtp-only.gguf"));
    const auto with = [&](const std::function<void(GgufWriter&)>& change) {
        rewrite(file, change);
        load_with(dir / "m.gguf");
    };
    const auto refused_with = [&](const auto& change) { return error_of([&] { with(change); }); };
    EXPECT_NO_THROW(with([](GgufWriter&) {}));
    EXPECT_THAT(refused_with([](GgufWriter& w) { w.set<std::uint32_t>("deepseek4.mtp.block_count", 2); }),
                HasSubstr("'deepseek4.mtp.block_count' is 2"));
    EXPECT_THAT(refused_with([](GgufWriter& w) { w.remove("deepseek4.mtp.block_count"); }),
                HasSubstr("has no drafter"));
    const Config both = config_from_json(with_dspark().dump(), "c");
    EXPECT_THAT(refused_with([&](GgufWriter& w) {
                    write_config(both, w);
                    w.set<std::uint32_t>("deepseek4.mtp.block_count", 1);
                }),
                HasSubstr("beside the stages of DSpark"));
}

TEST_F(Drafters, AreRoundedLikeTheModelExceptTheirExperts) {
    for (const std::string kind : {"dspark", "mtp"})
        for (const char* path : {"", "-only"}) {
            convert(*Checkpoint::open(in(kind + path)), dir / "m.gguf",
                    {.types = {.recipe = "q4"}, .threads = 2});
            const Gguf m(dir / "m.gguf");
            EXPECT_EQ(m.get(kind + ".0.attn_q_a.weight").dtype, DType::q8_0);
            EXPECT_EQ(m.get(kind + ".0.ffn_gate_exps.weight").dtype, DType::mxfp4);
            EXPECT_EQ(m.get(kind + ".0.ffn_gate_inp.weight").dtype, DType::bf16);
            if (kind == "mtp") EXPECT_EQ(m.get("mtp.h_proj.weight").dtype, DType::q8_0);
            fs::remove(dir / "m.gguf");
        }
}

TEST_F(Drafters, ArePutIntoAModel) {
    const auto plain = Checkpoint::open(in("plain"));
    for (const std::string kind : {"dspark", "mtp"}) {
        const auto drafter = open_drafter(in(kind + "-only"), *plain);
        ConvertOptions options = kept();
        options.drafter = drafter.get();
        convert(*plain, dir / "m.gguf", options);
        const auto model = Model::load(dir / "m.gguf");
        EXPECT_EQ(model->config.drafter(), drafter->config().drafter());
        EXPECT_EQ(values_of(model->config, *model->draft),
                  values_of(model->config, *Model::load(in(kind))->draft));
        EXPECT_EQ(model_identity(*model), model_identity(*Model::load(in("plain.gguf"))));
        // Every tensor of the model's release is what it was; the drafter's are of another release.
        const auto summary = write_release(GgufCheckpoint(dir / "m.gguf"), dir / "back");
        EXPECT_GT(summary.added, 0);
        write_release(GgufCheckpoint(in("plain.gguf")), dir / "first");
        const Safetensors back(dir / "back"), first(dir / "first");
        for (const StoredTensor& t : first.tensors())
            EXPECT_TRUE(std::ranges::equal(back.get(t.view.name).data, t.view.data)) << t.view.name;
        for (const StoredTensor& t : back.tensors())
            EXPECT_TRUE(first.contains(t.view.name) || of_drafter(t.view.name)) << t.view.name;
        // Taken out again.
        convert(*Checkpoint::open(dir / "m.gguf"), dir / "out.gguf",
                {.types = {.dense = DType::f8_e4m3}, .leave_out_drafter = true});
        EXPECT_EQ(read_file(dir / "out.gguf"), read_file(in("plain.gguf")));
        for (const char* name : {"m.gguf", "back", "first", "out.gguf"}) fs::remove_all(dir / name);
    }
}

TEST_F(Drafters, ReplaceTheModelsOwn) {
    const auto mtp = Checkpoint::open(in("mtp.gguf"));
    const auto drafter = open_drafter(in("dspark-only.gguf"), *mtp);
    ConvertOptions options = kept();
    options.drafter = drafter.get();
    convert(*mtp, dir / "m.gguf", options);
    const Gguf file(dir / "m.gguf");
    EXPECT_FALSE(file.contains("mtp.e_proj.weight"));
    EXPECT_TRUE(file.contains("dspark.fc.weight"));
    EXPECT_FALSE(file.metadata().contains("deepseek4.mtp.block_count"));
    EXPECT_THAT(error_of([&] { write_release(GgufCheckpoint(dir / "m.gguf"), dir / "back"); }),
                HasSubstr("was not made from a release"));
    options.leave_out_drafter = true;
    EXPECT_THAT(error_of([&] { convert(*mtp, dir / "x.gguf", options); }), HasSubstr("left out"));
    const auto only = Checkpoint::open(in("mtp-only"));
    EXPECT_THAT(error_of([&] { convert(*only, dir / "x.gguf", {.drafter = drafter.get()}); }),
                HasSubstr("is a drafter itself"));
    EXPECT_THAT(error_of([&] { convert(*only, dir / "x.gguf", {.leave_out_drafter = true}); }),
                HasSubstr("nothing but a drafter"));
    EXPECT_THAT(error_of([&] { convert(*only, dir / "x.gguf", {.engram = dir / "y.gguf"}); }),
                HasSubstr("no Engram tables"));
}

}  // namespace
}  // namespace cachalot
