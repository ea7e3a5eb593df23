#include "model/importance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "file/gguf_writer.h"
#include "file/support.h"

namespace cachalot {
namespace {

using testing::ElementsAre;
using testing::FloatEq;
using testing::HasSubstr;
using testing::IsEmpty;

// Two dense columns, seen by four tokens; three experts of two columns, of which the second was never chosen.
ImportanceMatrix small() {
    ImportanceMatrix matrix;
    matrix.datasets = {"a.txt"};
    matrix.chunk_count = 2;
    matrix.chunk_size = 2;
    auto& dense = matrix.entry("blk.0.attn_kv.weight", 1, 2);
    dense.sums = {8, 2};
    dense.counts = {4};
    auto& experts = matrix.entry("blk.0.ffn_down_exps.weight", 3, 2);
    experts.sums = {6, 3, 0, 0, 1, 5};
    experts.counts = {3, 0, 1};
    return matrix;
}

TEST(ImportanceMatrix, GivesMeansAndKnowsWhatItHasNotSeen) {
    const auto matrix = small();
    EXPECT_THAT(matrix.find("blk.0.attn_kv.weight", 0, 2), ElementsAre(2, 0.5));
    EXPECT_THAT(matrix.find("blk.0.ffn_down_exps.weight", 0, 2), ElementsAre(2, 1));
    EXPECT_THAT(matrix.find("blk.0.ffn_down_exps.weight", 1, 2), IsEmpty());
    EXPECT_THAT(matrix.find("blk.0.ffn_down_exps.weight", 2, 2), ElementsAre(1, 5));
    EXPECT_THAT(matrix.mean("blk.0.ffn_down_exps.weight", 2), ElementsAre(FloatEq(7. / 4), 2));
    EXPECT_THAT(matrix.find("blk.1.attn_kv.weight", 0, 2), IsEmpty());
    EXPECT_THAT(matrix.mean("blk.1.attn_kv.weight", 2), IsEmpty());
    EXPECT_THAT(error_of([&] { matrix.find("blk.0.attn_kv.weight", 0, 3); }), HasSubstr("another model"));
    EXPECT_THAT(error_of([&] { matrix.find("blk.0.attn_kv.weight", 1, 2); }), HasSubstr("another model"));
}

TEST(ImportanceMatrix, SurvivesAFile) {
    const TempDir dir;
    small().save(dir / "i.gguf");
    const auto read = ImportanceMatrix::load(dir / "i.gguf");
    EXPECT_THAT(read.datasets, ElementsAre("a.txt"));
    EXPECT_EQ(read.chunk_count, 2u);
    EXPECT_EQ(read.chunk_size, 2u);
    ASSERT_EQ(read.entries().size(), 2u);
    const auto written = small();
    for (const auto& [tensor, entry] : written.entries()) {
        const auto& other = read.entries().at(tensor);
        EXPECT_EQ(other.sums, entry.sums);
        EXPECT_EQ(other.counts, entry.counts);
        EXPECT_EQ(other.columns, entry.columns);
    }
}

TEST(ImportanceMatrix, MergesOrLeavesAlone) {
    auto matrix = small();
    auto other = small();
    other.chunk_size = 4;
    matrix.merge(other);
    EXPECT_THAT(matrix.entries().at("blk.0.attn_kv.weight").sums, ElementsAre(16, 4));
    EXPECT_THAT(matrix.entries().at("blk.0.ffn_down_exps.weight").counts, ElementsAre(6, 0, 2));
    EXPECT_EQ(matrix.chunk_count, 6u);
    EXPECT_THAT(matrix.find("blk.0.attn_kv.weight", 0, 2), ElementsAre(2, 0.5));

    ImportanceMatrix wrong;
    wrong.entry("blk.0.attn_kv.weight", 1, 2).sums = {100, 100};
    wrong.entry("blk.0.ffn_down_exps.weight", 3, 4);
    EXPECT_THAT(error_of([&] { matrix.merge(wrong); }), HasSubstr("ffn_down_exps"));
    EXPECT_THAT(matrix.entries().at("blk.0.attn_kv.weight").sums, ElementsAre(16, 4));
}

// What llama.cpp writes: a trailing dimension of 1 is not written, and first moments stand beside the second.
TEST(ImportanceMatrix, ReadsFilesOfOthers) {
    const TempDir dir;
    GgufWriter writer(dir / "i.gguf");
    writer.set("general.type", "imatrix");
    writer.declare("output.weight.in_sum2", DType::f32, {2});
    writer.declare("output.weight.counts", DType::f32, {1});
    writer.declare("output.weight.in_sum", DType::f32, {2});
    const std::vector<float> sums = {6, -6}, squares = {12, 15}, count = {3};
    writer.append("output.weight.in_sum2", std::as_bytes(std::span(squares)));
    writer.append("output.weight.counts", std::as_bytes(std::span(count)));
    writer.append("output.weight.in_sum", std::as_bytes(std::span(sums)));
    writer.finish();
    const auto matrix = ImportanceMatrix::load(dir / "i.gguf");
    EXPECT_EQ(matrix.entries().size(), 1u);
    EXPECT_THAT(matrix.find("output.weight", 0, 2), ElementsAre(4, 5));
}

TEST(ImportanceMatrix, RefusesWhatCannotBe) {
    const TempDir dir;
    struct Case {
        std::string type, sums_name, counts_name;
        std::vector<float> sums, counts;
        std::string message;
    };
    const float inf = std::numeric_limits<float>::infinity();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (const auto& c : {
             Case{"model", "a.in_sum2", "a.counts", {1}, {1}, "'model', expected 'imatrix'"},
             Case{"imatrix", "a.in_sum2", "b.counts", {1}, {1}, "no tensor 'a.counts'"},
             Case{"imatrix", "b.in_sum", "a.counts", {1}, {1}, "no sums"},
             Case{"imatrix", "b.in_sum", "b", {1}, {1}, "no importance"},
             Case{"imatrix", "a.in_sum2", "a.counts", {1, 2, 3}, {1, 1}, "3 sums for 2 counts"},
             Case{"imatrix", "a.in_sum2", "a.counts", {}, {1}, "0 sums"},
             Case{"imatrix", "a.in_sum2", "a.counts", {1}, {}, "for 0 counts"},
             Case{"imatrix", "a.in_sum2", "a.counts", {-1}, {1}, "never negative"},
             Case{"imatrix", "a.in_sum2", "a.counts", {inf}, {1}, "never negative"},
             Case{"imatrix", "a.in_sum2", "a.counts", {nan}, {1}, "never negative"},
             Case{"imatrix", "a.in_sum2", "a.counts", {1}, {nan}, "never negative"},
             Case{"imatrix", "a.in_sum2", "a.counts", {1}, {1e20f}, "tokens"},
         }) {
        {
            GgufWriter writer(dir / "i.gguf");
            writer.set("general.type", c.type);
            writer.declare(c.sums_name, DType::f32, {std::int64_t(c.sums.size())});
            writer.declare(c.counts_name, DType::f32, {std::int64_t(c.counts.size())});
            writer.append(c.sums_name, std::as_bytes(std::span(c.sums)));
            writer.append(c.counts_name, std::as_bytes(std::span(c.counts)));
            writer.finish();
        }
        EXPECT_THAT(error_of([&] { ImportanceMatrix::load(dir / "i.gguf"); }), HasSubstr(c.message));
    }
    small().save(dir / "i.gguf");
    const auto bytes = read_file(dir / "i.gguf");
    for (std::size_t size = 0; size + 32 < bytes.size(); size += 7)
        EXPECT_THROW(
            ImportanceMatrix::parse(Gguf::parse(bytes_of(std::string_view(bytes).substr(0, size)), "i")),
            Error);
}

}  // namespace
}  // namespace cachalot
