#include "file/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

#include "file/gguf.h"
#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(GgufWriter, MetadataRoundTrips) {
    const TempDir dir;
    GgufWriter writer(dir / "m.gguf");
    writer.set("name", "nano");
    writer.set<std::uint32_t>("u32", 43);
    writer.set<std::uint8_t>("u8", 255);
    writer.set<std::int8_t>("i8", -1);
    writer.set<std::uint16_t>("u16", 3);
    writer.set<std::int16_t>("i16", -3);
    writer.set<std::int32_t>("i32", -4);
    writer.set<std::int64_t>("i64", -5);
    writer.set<std::uint64_t>("u64", 1ull << 63);
    writer.set<float>("f32", 1e-6f);
    writer.set<double>("f64", 0.1);
    writer.set<bool>("bool", true);
    writer.set_array<std::int32_t>("ratios", std::vector<std::int32_t>{0, 4, 128});
    writer.set_array<float>("empty", {});
    writer.set_strings("words", std::vector<std::string>{"a", "", "\xe4\xbd\xa0"});
    writer.set<std::uint32_t>("u32", 44);  // replaces
    writer.finish();

    const Gguf file(dir / "m.gguf");
    const auto& m = file.metadata();
    std::vector<std::string> text;
    for (const auto& value : m.values())
        text.push_back(value.key + " " + type_text(value) + " " + value_text(value));
    EXPECT_THAT(
        text, ElementsAre("name str 'nano'", "u32 u32 44", "u8 u8 255", "i8 i8 -1", "u16 u16 3", "i16 i16 -3",
                          "i32 i32 -4", "i64 i64 -5", "u64 u64 9223372036854775808", "f32 f32 1e-06",
                          "f64 f64 0.1", "bool bool true", "ratios i32[3] [0, 4, 128]", "empty f32[0] []",
                          "words str[3] ['a', '', '\xe4\xbd\xa0']"));
}

TEST(GgufWriter, CopiesValuesUnchanged) {
    const TempDir dir;
    {
        GgufWriter writer(dir / "a.gguf");
        writer.set("text", "x");
        writer.set_strings("words", std::vector<std::string_view>{"a", "b"});
        writer.set<double>("f64", 2.5);
        writer.finish();
    }
    const Gguf a(dir / "a.gguf");
    {
        GgufWriter writer(dir / "b.gguf");
        for (const auto& value : a.metadata().values()) writer.copy(value);
        writer.finish();
    }
    EXPECT_EQ(read_file(dir / "a.gguf"), read_file(dir / "b.gguf"));
    EXPECT_TRUE(GgufWriter::is_container_key("split.no"));
    EXPECT_TRUE(GgufWriter::is_container_key("general.alignment"));
    EXPECT_FALSE(GgufWriter::is_container_key("general.name"));
}

TEST(GgufWriter, TensorsRoundTripInPiecesOfAnySize) {
    rc::check("what is appended is read", [] {
        const TempDir dir;
        // Rows of 32 so that every type has whole blocks.
        const auto types = std::vector{DType::f32, DType::f16, DType::bf16,  DType::i8,
                                       DType::i32, DType::i64, DType::mxfp4, DType::q8_0};
        const auto rows = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 5));
        const auto piece = static_cast<std::size_t>(*rc::gen::inRange(1, 200));
        std::vector<std::string> contents;
        std::uint64_t size = 0;
        {
            GgufWriter writer(dir / "m.gguf");
            writer.set("general.name", "x");
            for (std::size_t i = 0; i < rows.size(); ++i) {
                const DType type = types[i % types.size()];
                writer.declare(fmt::format("t{}", i), type, {rows[i], 32});
                const auto bytes =
                    static_cast<std::size_t>(rows[i]) * static_cast<std::size_t>(row_bytes(type, 32));
                contents.emplace_back(bytes, static_cast<char>('a' + i % 26));
            }
            for (std::size_t i = 0; i < rows.size(); ++i)
                for (std::size_t at = 0; at < contents[i].size(); at += piece)
                    writer.append(fmt::format("t{}", i),
                                  bytes_of(std::string_view(contents[i]).substr(at, piece)));
            size = writer.file_size();
            writer.finish();
        }
        RC_ASSERT(std::filesystem::file_size(dir / "m.gguf") == size);
        const Gguf file(dir / "m.gguf");
        RC_ASSERT(file.tensors().size() == rows.size());
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const TensorView& view = file.get(fmt::format("t{}", i));
            RC_ASSERT(view.dtype == types[i % types.size()]);
            RC_ASSERT(view.shape == (std::vector<std::int64_t>{rows[i], 32}));
            RC_ASSERT(text_of(view) == contents[i]);
            RC_ASSERT(file.tensors()[i].offset % kGgufAlignment == 0u);
        }
    });
}

TEST(GgufWriter, ShapesAreWrittenContiguousFirst) {
    const TempDir dir;
    GgufWriter writer(dir / "m.gguf");
    writer.declare("t", DType::i8, {2, 3});
    writer.append("t", bytes_of("abcdef"));
    writer.finish();
    EXPECT_THAT(read_file(dir / "m.gguf"), HasSubstr(le<std::uint32_t>(2) + le<std::uint64_t>(3) +
                                                     le<std::uint64_t>(2) + le<std::uint32_t>(24)));
}

// At the beginning, between others and at the end.
TEST(GgufWriter, TensorsOfZerosComeByThemselves) {
    const TempDir dir;
    const std::vector<std::int64_t> three = {3};
    GgufWriter writer(dir / "m.gguf");
    writer.declare_zeros("first", DType::i8, three);
    writer.declare("a", DType::i8, three);
    writer.declare_zeros("second", DType::i8, three);
    writer.declare_zeros("third", DType::i8, three);
    writer.declare("b", DType::i8, three);
    writer.declare_zeros("last", DType::i8, three);
    const auto size = writer.file_size();
    writer.append("a", bytes_of("abc"));
    writer.append("b", bytes_of("def"));
    writer.finish();
    EXPECT_EQ(std::filesystem::file_size(dir / "m.gguf"), size);
    const Gguf file(dir / "m.gguf");
    auto text = [&](const char* name) {
        const auto data = file.get(name).data;
        return std::string(reinterpret_cast<const char*>(data.data()), data.size());
    };
    EXPECT_EQ(text("a"), "abc");
    EXPECT_EQ(text("b"), "def");
    for (const char* name : {"first", "second", "third", "last"}) EXPECT_EQ(text(name), std::string(3, '\0'));
}

TEST(GgufWriter, NothingIsLeftWithoutFinish) {
    const TempDir dir;
    {
        GgufWriter writer(dir / "m.gguf");
        writer.declare("t", DType::f32, {1000});
        writer.append("t", bytes_of("abcd"));
        EXPECT_FALSE(std::filesystem::exists(dir / "m.gguf"));
    }
    EXPECT_THAT(dir.files(), IsEmpty());
}

TEST(GgufWriter, RefusesWhatGgufCannotHold) {
    const TempDir dir;
    GgufWriter writer(dir / "m.gguf");
    const auto refused = [&](std::string name, DType type, std::vector<std::int64_t> shape) {
        return error_of([&] { writer.declare(name, type, shape); });
    };
    EXPECT_THAT(refused("t", DType::fp4_pairs, {2, 2}),
                AllOf(HasSubstr("m.gguf: tensor 't'"), HasSubstr("no tensor type for fp4_pairs")));
    EXPECT_THAT(refused("t", DType::mxfp4, {2, 33}), HasSubstr("whole number of mxfp4 blocks"));
    EXPECT_THAT(refused("t", DType::f32, {1, 1, 1, 1, 1}), HasSubstr("5 dimensions"));
    EXPECT_THAT(refused("t", DType::f32, {-1}), HasSubstr("negative dimension"));
    EXPECT_THAT(refused("t", DType::f32, {1ll << 40, 1ll << 40}), HasSubstr("overflows"));
    EXPECT_THAT(refused(std::string(64, 'x'), DType::f32, {1}), HasSubstr("longer than 63"));
    writer.declare("t", DType::f32, {1});
    EXPECT_THAT(refused("t", DType::f32, {1}), HasSubstr("appears twice"));
}

TEST(GgufWriter, OurOwnMistakesAreCaught) {
    const TempDir dir;
    GgufWriter writer(dir / "m.gguf");
    EXPECT_THROW(writer.set<std::uint32_t>("general.alignment", 64), InternalError);
    writer.declare("a", DType::i8, {2});
    writer.declare("b", DType::i8, {2});
    EXPECT_THROW(writer.append("b", bytes_of("xx")), InternalError);   // out of turn
    EXPECT_THROW(writer.append("a", bytes_of("xxx")), InternalError);  // too long
    EXPECT_THROW(writer.set("k", "late"), InternalError);
    EXPECT_THROW(writer.declare("late", DType::i8, {2}), InternalError);
    writer.append("a", bytes_of("xx"));
    EXPECT_THROW(writer.finish(), InternalError);  // b is missing
    writer.append("b", bytes_of("yy"));
    writer.finish();
    EXPECT_EQ(text_of(Gguf(dir / "m.gguf").get("b")), "yy");
}

TEST(GgufWriter, TooLargeForAnyDisk) {
    const TempDir dir;
    {
        GgufWriter writer(dir / "m.gguf");
        writer.declare("t", DType::i8, {std::int64_t{1} << 60});
        EXPECT_THAT(error_of([&] { writer.append("t", bytes_of("x")); }),
                    HasSubstr("m.gguf: cannot reserve 11529"));
    }
    EXPECT_THAT(dir.files(), IsEmpty());
}

}  // namespace
}  // namespace cachalot
