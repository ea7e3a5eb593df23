// Converting whole models: without loss and back, with recipes, and after being killed. And GGUF files as
// other programs write them.
#include "model/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/error.h"
#include "engine/engine.h"
#include "file/gguf_writer.h"
#include "file/text_file.h"
#include "model/gguf_checkpoint.h"
#include "model/importance.h"
#include "model/release_record.h"
#include "model/synthetic_release.h"
#include "support/tiny_release.h"
#include "tensor/convert.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::string error_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

class ConvertModel : public testing::Test {
  protected:
    // FP8 and FP4 in several files.
    fs::path release(int layers = 4) {
        const fs::path path = folder.path() / "release";
        if (!fs::exists(path)) {
            Config config = known_config("tiny");
            set_layers(config, layers);
            config.experts = 4;
            config.experts_per_token = 2;
            write_synthetic_release(config, 7, path, {}, 1 << 20);
        }
        return path;
    }
    fs::path file(const std::string& name) const { return folder.path() / name; }

    ConvertSummary make(const std::string& name, TypeOptions types = {}) {
        return convert(*Checkpoint::open(release()), file(name), {.types = std::move(types), .threads = 2});
    }
    static DType type(const Gguf& gguf, const std::string& name) { return gguf.get(name).dtype; }

    static std::vector<float> logits(const fs::path& path) {
        Engine engine(Model::load(path), {2, Precision::exact, KvPrecision::f32});
        auto state = engine.new_state();
        std::vector<std::int32_t> tokens;
        for (int i = 0; i < 20; ++i) tokens.push_back(i * 37 % 1000);
        const auto result = engine.prefill(state, tokens);
        return {result.begin(), result.end()};
    }
    static double difference(const std::vector<float>& a, const std::vector<float>& b) {
        double error = 0, size = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            error += std::pow(static_cast<double>(a[i]) - b[i], 2);
            size += std::pow(static_cast<double>(a[i]), 2);
        }
        return std::sqrt(error / size);
    }

    test::TemporaryFolder folder;
};

TEST_F(ConvertModel, ThereAndBackGivesTheSameFiles) {
    EXPECT_EQ(make("m.gguf", {.dense = DType::f8_e4m3}).changed, 0);
    EXPECT_EQ(logits(file("m.gguf")), logits(release()));
    // And through a copy of the copy.
    convert(*Checkpoint::open(file("m.gguf")), file("copy.gguf"), {.types = {.dense = DType::f8_e4m3}});
    EXPECT_EQ(read_text_file(file("copy.gguf")), read_text_file(file("m.gguf")));

    const auto summary = write_release(GgufCheckpoint(file("copy.gguf")), file("back"));
    int files = 0;
    for (const auto& entry : fs::directory_iterator(release())) {
        const auto name = entry.path().filename();
        EXPECT_EQ(read_text_file(file("back") / name), read_text_file(entry.path())) << name;
        ++files;
    }
    EXPECT_GE(files, 6);  // several shards
    EXPECT_EQ(summary.files, files);
    EXPECT_EQ(summary.left_out, 0);
    EXPECT_THAT(error_of([&] { write_release(GgufCheckpoint(file("m.gguf")), file("back")); }),
                HasSubstr("exists"));
}

TEST_F(ConvertModel, AReleaseIsWrittenIntoAnyNewOrEmptyFolder) {
    make("m.gguf", {.dense = DType::f8_e4m3});
    const GgufCheckpoint source(file("m.gguf"));
    fs::create_directory(file("empty"));
    fs::create_directory(file("far"));
    fs::create_directory_symlink(file("far"), file("link"));
    for (const auto& output : {file("slash") / "", file("empty"), file("link"), file("new")}) {
        write_release(source, output);
        EXPECT_EQ(read_text_file(output / "config.json"), read_text_file(release() / "config.json"));
        EXPECT_FALSE(fs::exists(output / ".made-from"));
    }
    EXPECT_TRUE(fs::is_symlink(file("link")));
    for (const auto& entry : fs::directory_iterator(file("")))
        EXPECT_FALSE(entry.path().string().ends_with(".partial")) << entry.path();
}

TEST_F(ConvertModel, AReleaseGoesOnWhereItWasInterrupted) {
    make("m.gguf", {.dense = DType::f8_e4m3});
    const GgufCheckpoint source(file("m.gguf"));
    int seen = 0;
    EXPECT_THROW(write_release(source, file("back"),
                               [&](std::uint64_t done, std::uint64_t total) {
                                   EXPECT_LE(done, total);
                                   if (++seen == 40) throw std::runtime_error("interrupted");
                               }),
                 std::runtime_error);
    EXPECT_FALSE(fs::exists(file("back")));
    ASSERT_TRUE(fs::exists(file("back.partial") / "config.json"));
    const auto first = fs::last_write_time(file("back.partial") / "config.json");
    write_release(source, file("back"));
    EXPECT_EQ(fs::last_write_time(file("back") / "config.json"), first);
    for (const auto& entry : fs::directory_iterator(release()))
        EXPECT_EQ(read_text_file(file("back") / entry.path().filename()), read_text_file(entry.path()));

    // Somebody else's folder is left alone.
    fs::create_directory(file("other.partial"));
    std::ofstream(file("other.partial") / "config.json") << "precious";
    EXPECT_THAT(error_of([&] { write_release(source, file("other")); }), HasSubstr("other.partial"));
    EXPECT_EQ(read_text_file(file("other.partial") / "config.json"), "precious");
}

TEST_F(ConvertModel, TensorsThatTheFileLacksAreLeftOutOfTheRelease) {
    fs::create_directory(file("tiny"));
    test::TinyRelease tiny(file("tiny"));  // has one tensor of a prediction block
    convert(*Checkpoint::open(file("tiny")), file("m.gguf"), {.types = {.dense = DType::f8_e4m3}});
    EXPECT_EQ(write_release(GgufCheckpoint(file("m.gguf")), file("back")).left_out, 1);
    EXPECT_EQ(logits(file("back")), logits(file("tiny")));
    convert(*Checkpoint::open(file("back")), file("again.gguf"), {});
    convert(*Checkpoint::open(file("tiny")), file("first.gguf"), {});
    EXPECT_EQ(Gguf(file("again.gguf")).tensors().size(), Gguf(file("first.gguf")).tensors().size());
}

TEST_F(ConvertModel, OnlyWhatLostNothingBecomesAReleaseAgain) {
    make("m.gguf");  // FP8 became BF16
    EXPECT_THAT(error_of([&] { write_release(GgufCheckpoint(file("m.gguf")), file("back")); }),
                HasSubstr("cannot become one again"));
    EXPECT_FALSE(fs::exists(file("back")));
    // A record that was true once is not handed on.
    make("kept.gguf", {.dense = DType::f8_e4m3});
    convert(*Checkpoint::open(file("kept.gguf")), file("q4.gguf"), {.types = {.recipe = "q4"}});
    EXPECT_FALSE(Gguf(file("q4.gguf")).metadata().contains("cachalot.release.files"));
}

TEST_F(ConvertModel, Recipes) {
    release(8);
    struct Expected {
        const char* recipe;
        DType gate_early, down_early, gate_late;
    };
    for (const auto& e : {Expected{"mxfp4", DType::mxfp4, DType::mxfp4, DType::mxfp4},
                          Expected{"q4", DType::q4_k, DType::q4_k, DType::q4_k},
                          Expected{"q3", DType::iq3_xxs, DType::q3_k, DType::iq3_xxs},
                          Expected{"q2-q4", DType::iq2_xxs, DType::q2_k, DType::q4_k},
                          Expected{"q2", DType::iq2_xxs, DType::q2_k, DType::iq2_xxs}}) {
        make("m.gguf", {.recipe = e.recipe});
        const Gguf m(file("m.gguf"));
        EXPECT_EQ(type(m, "blk.1.ffn_gate_exps.weight"), e.gate_early) << e.recipe;
        EXPECT_EQ(type(m, "blk.1.ffn_up_exps.weight"), e.gate_early) << e.recipe;
        EXPECT_EQ(type(m, "blk.1.ffn_down_exps.weight"), e.down_early) << e.recipe;
        EXPECT_EQ(type(m, "blk.2.ffn_gate_exps.weight"), e.gate_late) << e.recipe;
        EXPECT_EQ(type(m, "blk.7.ffn_gate_exps.weight"), e.gate_late) << e.recipe;
        EXPECT_EQ(type(m, "blk.2.attn_q_a.weight"), DType::q8_0);
        EXPECT_EQ(type(m, "output.weight"), DType::q8_0);
        EXPECT_EQ(type(m, "token_embd.weight"), DType::bf16);
        EXPECT_EQ(type(m, "blk.3.ffn_gate_inp.weight"), DType::bf16);
        EXPECT_EQ(type(m, "blk.3.hc_ffn_fn.weight"), DType::f32);
    }
    EXPECT_THAT(error_of([&] { make("x.gguf", {.recipe = "q5"}); }),
                AllOf(HasSubstr("q5"), HasSubstr("q2-q4")));
}

// Every type in a model, each at the error that its size lets expect, and types that change from layer to
// layer.
TEST_F(ConvertModel, TheModelComputesFromEveryType) {
    const auto expected = logits(release());
    const std::pair<DType, double> types[] = {
        {DType::q8_0, 0.01}, {DType::q6_k, 0.03}, {DType::q5_k, 0.08},   {DType::q4_k, 0.3},
        {DType::q3_k, 0.4},  {DType::q2_k, 0.7},  {DType::iq3_xxs, 0.5}, {DType::iq2_xxs, 0.9}};
    for (const auto& [type, most] : types) {
        make("m.gguf", {.experts = type});
        const double found = difference(expected, logits(file("m.gguf")));
        EXPECT_LT(found, most) << name(type);
        EXPECT_GT(found, 0) << name(type);
    }
    make("mixed.gguf", {.recipe = "q4",
                        .overrides = {{R"(blk\.[01]\.ffn_.*_exps\.weight)", DType::q5_k},
                                      {R"(blk\.1\.ffn_down_exps\.weight)", DType::q6_k},
                                      {R"(blk\.3\.ffn_gate_inp\.weight)", DType::f32}}});
    const Gguf mixed(file("mixed.gguf"));
    EXPECT_EQ(type(mixed, "blk.0.ffn_down_exps.weight"), DType::q5_k);
    EXPECT_EQ(type(mixed, "blk.1.ffn_down_exps.weight"), DType::q6_k);
    EXPECT_EQ(type(mixed, "blk.2.ffn_down_exps.weight"), DType::q4_k);
    EXPECT_EQ(type(mixed, "blk.3.ffn_gate_inp.weight"), DType::f32);
    EXPECT_LT(difference(expected, logits(file("mixed.gguf"))), 0.3);
}

TEST_F(ConvertModel, MistakesAreFoundBeforeTheWork) {
    const auto refused = [&](TypeOptions types) {
        return error_of([&] { make("m.gguf", std::move(types)); });
    };
    EXPECT_THAT(refused({.overrides = {{"blk.0.ffn_gate", DType::q4_k}}}), HasSubstr("matches no tensor"));
    EXPECT_THAT(refused({.overrides = {{"blk.(0", DType::q4_k}}}), HasSubstr("not a regular expression"));
    EXPECT_THAT(refused({.embeddings = DType::f8_e4m3}),
                AllOf(HasSubstr(": tensor token_embd"), HasSubstr("bf16"), HasSubstr("choose")));
    EXPECT_THAT(refused({.experts = DType::iq1_s}), HasSubstr("cannot write tensors of type iq1_s"));
    EXPECT_THAT(refused({.overrides = {{R"(blk\.0\.attn_output_a\.weight)", DType::i32}}}), HasSubstr("i32"));
    fs::create_directory(file("tiny"));
    test::TinyRelease tiny(file("tiny"));  // rows of 64 and 96
    EXPECT_THAT(error_of([&] {
                    convert(*Checkpoint::open(file("tiny")), file("t.gguf"),
                            {.types = {.experts = DType::q4_k}});
                }),
                AllOf(HasSubstr("blk.0.ffn_gate_exps.weight"), HasSubstr("whole blocks of 256")));
    // A recipe does what it can.
    convert(*Checkpoint::open(file("tiny")), file("t.gguf"), {.types = {.recipe = "q2"}});
    EXPECT_EQ(type(Gguf(file("t.gguf")), "blk.0.ffn_gate_exps.weight"), DType::mxfp4);
    EXPECT_EQ(type(Gguf(file("t.gguf")), "blk.0.attn_q_a.weight"), DType::q8_0);
    for (const auto& entry : fs::directory_iterator(folder.path()))
        EXPECT_FALSE(entry.path().string().ends_with(".partial")) << entry.path();
}

TEST_F(ConvertModel, ImportanceOfEachExpert) {
    ImportanceMatrix importance;
    const std::string gate = "blk.1.ffn_gate_exps.weight", dense = "blk.1.attn_q_a.weight";
    auto& experts = importance.entry(gate, 4, 256);
    auto& matrix = importance.entry(dense, 1, 256);
    for (std::size_t c = 0; c < 256; ++c) {
        matrix.sums[c] = c % 2 ? 1.0f : 1000.0f;
        for (std::size_t e = 0; e < 3; ++e)
            experts.sums[256 * e + c] = (c % 2 == 0) == (e != 1) ? 1000.0f : 1.0f;
    }
    matrix.counts[0] = 1000;
    experts.counts = {1000, 1000, 1000, 0};  // the last was never seen
    ConvertOptions options{.types = {.recipe = "q2"}, .importance = &importance, .importance_name = "text"};
    const auto summary = convert(*Checkpoint::open(release()), file("with.gguf"), options);
    make("without.gguf", {.recipe = "q2"});
    make("exact.gguf");
    const auto half_error = [&](const char* path, const std::string& name, int expert, int half) {
        const Gguf a(file(path)), b(file("exact.gguf"));
        double sum = 0;
        std::vector<float> x(256), y(256);
        const auto row = [&](const Gguf& g, int r, std::vector<float>& out) {
            const TensorView& t = g.get(name);
            const auto stride = row_bytes(t.dtype, 256);
            dequantize_row({t.dtype, 4 * 256, 256, t.data.data(), stride}, expert * 256 + r, out);
        };
        for (int r = 0; r < 32; ++r) {
            row(a, r, x);
            row(b, r, y);
            for (std::size_t c = static_cast<std::size_t>(half); c < 256; c += 2)
                sum += std::pow(x[c] - y[c], 2);
        }
        return sum;
    };
    for (int e : {0, 1, 2}) {
        const int matters = e == 1 ? 1 : 0;
        EXPECT_LT(half_error("with.gguf", gate, e, matters),
                  0.95 * half_error("without.gguf", gate, e, matters))
            << e;
    }
    // The one that was not seen takes the mean of the others.
    EXPECT_LT(half_error("with.gguf", gate, 3, 0), half_error("without.gguf", gate, 3, 0));
    EXPECT_GT(summary.unmeasured, 0);
    EXPECT_EQ(Gguf(file("with.gguf")).metadata().get<std::string_view>("quantize.imatrix.file"), "text");
}

// The process dies as if by `kill -9` after every few pieces, again and again; the file is that of an
// undisturbed run.
TEST_F(ConvertModel, KilledAndResumed) {
    release();
    const TypeOptions types{.recipe = "q4"};
    make("whole.gguf", types);
    const auto attempt = [&](int pieces) {
        const pid_t child = fork();
        if (child == 0) {
            int seen = 0;
            ConvertOptions options{.types = types, .threads = 1, .checkpoint_bytes = 20000};
            try {
                convert(*Checkpoint::open(release()), file("m.gguf"), options,
                        [&](std::uint64_t, std::uint64_t) {
                            if (++seen == pieces) {
                                usleep(20000);  // some of it reaches the disk
                                kill(getpid(), SIGKILL);
                            }
                        });
            } catch (...) {
                _exit(3);
            }
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    };
    for (int pieces : {20, 60, 100}) EXPECT_EQ(attempt(pieces), -SIGKILL);
    EXPECT_FALSE(fs::exists(file("m.gguf")));
    ASSERT_TRUE(fs::exists(file("m.gguf.partial.journal")));
    std::ofstream(file("m.gguf.partial"), std::ios::app) << "what came after the last checkpoint";
    const auto summary = convert(*Checkpoint::open(release()), file("m.gguf"), {.types = types});
    EXPECT_GT(summary.resumed, summary.bytes / 10);
    EXPECT_LT(summary.resumed, summary.bytes);
    EXPECT_EQ(read_text_file(file("m.gguf")), read_text_file(file("whole.gguf")));
    EXPECT_FALSE(fs::exists(file("m.gguf.partial")));
    EXPECT_FALSE(fs::exists(file("m.gguf.partial.journal")));

    // What another conversion left is of no use, but it may be hours of work.
    EXPECT_EQ(attempt(60), -SIGKILL);
    ConvertOptions other{.types = {.recipe = "q2"}};
    const auto left = fs::file_size(file("m.gguf.partial"));
    EXPECT_THAT(error_of([&] { convert(*Checkpoint::open(release()), file("m.gguf"), other); }),
                HasSubstr("unfinished work"));
    EXPECT_EQ(fs::file_size(file("m.gguf.partial")), left);
    other.replace_unfinished = true;
    EXPECT_EQ(convert(*Checkpoint::open(release()), file("m.gguf"), other).resumed, 0u);
    // Nor can two write the same file.
    GgufWriter first(file("n.gguf"), OutputFile::Resumable{});
    EXPECT_THAT(error_of([&] { GgufWriter second(file("n.gguf"), OutputFile::Resumable{}); }),
                HasSubstr("another process"));
}

// ---- files as other programs write them

// A copy of a GGUF file with other metadata.
void rewrite(const fs::path& from, const fs::path& to, const std::function<void(GgufWriter&)>& change) {
    const Gguf source(from);
    GgufWriter writer(to);
    for (const GgufValue& value : source.metadata().values())
        if (!GgufWriter::is_container_key(value.key)) writer.copy(value);
    change(writer);
    for (const auto& t : source.tensors()) writer.declare(t.view.name, t.view.dtype, t.view.shape);
    for (const auto& t : source.tensors()) writer.append(t.view.name, t.view.data);
    writer.finish();
}

TEST_F(ConvertModel, KeysOfOtherPublishers) {
    make("m.gguf");
    const auto expected = logits(file("m.gguf"));
    const auto same = [&](const char* what, const std::function<void(GgufWriter&)>& change) {
        rewrite(file("m.gguf"), file("other.gguf"), change);
        EXPECT_EQ(logits(file("other.gguf")), expected) << what;
    };
    same("no clamp of the shared expert", [](GgufWriter& w) { w.remove("deepseek4.swiglu_clamp_shexp"); });
    same("no gating function", [](GgufWriter& w) { w.remove("deepseek4.expert_gating_func"); });
    same("a ratio too many and a prediction block that is not there", [&](GgufWriter& w) {
        std::vector<std::int32_t> ratios =
            Gguf(file("m.gguf"))
                .metadata()
                .get<std::vector<std::int32_t>>("deepseek4.attention.compress_ratios");
        ratios.push_back(0);
        w.set_array<std::int32_t>("deepseek4.attention.compress_ratios", ratios);
        w.set<std::uint32_t>("deepseek4.nextn_predict_layers", 1);
    });
    // Only the vocabulary counts, whatever a file calls the way to split text.
    const auto text =
        Model::load(file("m.gguf"))->tokenizer.encode("some words, 12345 figures", SpecialTokens::parse);
    for (const char* pre : {"joyai-llm", "deepseek-v3", "never-heard-of"}) {
        same(pre, [&](GgufWriter& w) { w.set("tokenizer.ggml.pre", pre); });
        EXPECT_EQ(Model::load(file("other.gguf"))
                      ->tokenizer.encode("some words, 12345 figures", SpecialTokens::parse),
                  text);
    }
    rewrite(file("m.gguf"), file("other.gguf"),
            [](GgufWriter& w) { w.set("tokenizer.ggml.model", "llama"); });
    EXPECT_THAT(error_of([&] { Model::load(file("other.gguf")); }), HasSubstr("'llama'"));
}

TEST_F(ConvertModel, SmallMatricesInHalfOrFullPrecision) {
    const auto expected = logits(release());
    const char* small =
        R"(.*(hc_.*_fn|output_hc_fn|ffn_gate_inp|compressor_(kv|gate)|indexer\.proj|token_embd)\.weight)";
    make("full.gguf", {.overrides = {{small, DType::f32}}});
    EXPECT_EQ(logits(file("full.gguf")), expected);
    make("half.gguf", {.overrides = {{small, DType::f16}}});
    EXPECT_EQ(type(Gguf(file("half.gguf")), "blk.1.hc_attn_fn.weight"), DType::f16);
    EXPECT_LT(difference(expected, logits(file("half.gguf"))), 0.02);
}

TEST_F(ConvertModel, ATypeThatNobodyKnows) {
    make("m.gguf");
    std::string bytes = read_text_file(file("m.gguf"));
    // The directory's entry of the tensor: name, two dimensions, type.
    const std::string tensor = "blk.0.attn_kv.weight";
    const std::size_t at = bytes.find(tensor) + tensor.size() + 4 + 2 * 8;
    const std::uint32_t unknown = 77;
    std::memcpy(&bytes[at], &unknown, 4);
    std::ofstream(file("odd.gguf"), std::ios::binary) << bytes;
    EXPECT_THAT(error_of([&] { Model::load(file("odd.gguf")); }),
                AllOf(HasSubstr("odd.gguf"), HasSubstr(tensor), HasSubstr("unknown type 77"),
                      HasSubstr("cachalot convert")));
}

}  // namespace
}  // namespace cachalot
