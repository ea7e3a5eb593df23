#include "file/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <numeric>

#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;

std::string file_of(std::string_view header, std::string_view data) {
    return le<std::uint64_t>(header.size()) + std::string(header) + std::string(data);
}

std::string entry(std::string_view name, std::string_view type, std::string_view shape, int begin, int end) {
    return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, type, shape, begin,
                       end);
}

std::string refused(const std::string& file) {
    return error_of([&] { Safetensors::parse(bytes_of(file), "m.safetensors"); });
}

std::string refused(std::string_view header, std::string_view data) { return refused(file_of(header, data)); }

// Touches every byte that the reader hands out, so that the sanitizers see a wrong view.
std::uint64_t touch(const TensorFile& file) {
    std::uint64_t sum = 0;
    for (const StoredTensor& tensor : file.tensors()) {
        for (std::byte b : tensor.view.data) sum += static_cast<std::uint64_t>(b);
        if (tensor.supported) sum += static_cast<std::uint64_t>(file.get(tensor.view.name).elements());
    }
    return sum;
}

const std::string kSmallHeader = "{" + entry("b", "F32", "[2, 1]", 6, 14) + "," +
                                 entry("a", "BF16", "[3]", 0, 6) + "," +
                                 entry("empty", "F32", "[0, 7]", 6, 6) + "," +
                                 entry("odd", "U16", "[1]", 14, 16) + R"(,"__metadata__":{"format":"pt"}}  )";
const std::string kSmall = file_of(kSmallHeader, "aabbccBBBBCCCCuu");

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirBytes) {
    const auto file = Safetensors::parse(bytes_of(kSmall), "m.safetensors");
    std::vector<std::string> names;
    for (const auto& tensor : file.tensors()) names.push_back(tensor.view.name);
    EXPECT_THAT(names, ElementsAre("a", "empty", "b", "odd"));
    EXPECT_THAT(file.metadata(), ElementsAre(Pair("format", "pt")));

    const TensorView& b = file.get("b");
    EXPECT_EQ(b.dtype, DType::f32);
    EXPECT_THAT(b.shape, ElementsAre(2, 1));
    EXPECT_EQ(text_of(b), "BBBBCCCC");
    EXPECT_EQ(file.tensors()[2].offset, 8 + kSmallHeader.size() + 6);
    EXPECT_EQ(file.tensors()[2].type, "F32");
    EXPECT_EQ(text_of(file.get("a")), "aabbcc");
    EXPECT_EQ(file.get("empty").elements(), 0);
    EXPECT_EQ(file.find("c"), nullptr);
    EXPECT_THAT(error_of([&] { (void)file.get("c"); }), AllOf(HasSubstr("m.safetensors"), HasSubstr("'c'")));
}

TEST(Safetensors, UnknownTypeIsListedAndRefusedOnUse) {
    const auto file = Safetensors::parse(bytes_of(kSmall), "m.safetensors");
    EXPECT_FALSE(file.tensors()[3].supported);
    EXPECT_TRUE(file.contains("odd"));
    for (const auto& use : {+[](const Safetensors& f) { (void)f.find("odd"); },
                            +[](const Safetensors& f) { (void)f.get("odd"); }})
        EXPECT_THAT(error_of([&] { use(file); }),
                    AllOf(HasSubstr("'odd'"), HasSubstr("unsupported type 'U16'")));
}

TEST(Safetensors, KnowsTheTypesOfTheReleases) {
    const std::vector<std::tuple<const char*, DType, int>> types = {
        {"F32", DType::f32, 4},         {"BF16", DType::bf16, 2},      {"F16", DType::f16, 2},
        {"I64", DType::i64, 8},         {"I32", DType::i32, 4},        {"I8", DType::i8, 1},
        {"F8_E4M3", DType::f8_e4m3, 1}, {"F8_E8M0", DType::f8_e8m0, 1}};
    for (const auto& [type, dtype, size] : types) {
        const std::string bytes = file_of("{" + entry("t", type, "[]", 0, size) + "}",
                                          std::string(static_cast<std::size_t>(size), 'x'));
        const auto file = Safetensors::parse(bytes_of(bytes), "m");
        EXPECT_EQ(file.get("t").dtype, dtype) << type;
        EXPECT_TRUE(file.get("t").shape.empty());
    }
}

TEST(Safetensors, RefusesBadFraming) {
    EXPECT_THAT(refused(""), HasSubstr("is empty"));
    EXPECT_THAT(refused("\1\2\3\4\5\6\7"), HasSubstr("too few"));
    EXPECT_THAT(refused(le<std::uint64_t>(3) + "{}"), HasSubstr("truncated"));
    EXPECT_THAT(refused(le<std::uint64_t>(100'000'001) + "{}"), HasSubstr("not a safetensors file"));
    EXPECT_THAT(refused(le<std::uint64_t>(~0ull) + "{}"), HasSubstr("not a safetensors file"));
    EXPECT_THAT(refused(le<std::uint64_t>(0)), HasSubstr("nothing but zeros"));
    EXPECT_THAT(refused(" {}", ""), HasSubstr("does not start with '{'"));
    EXPECT_THAT(refused("{", ""), HasSubstr("the header: is no JSON"));
    EXPECT_NO_THROW(Safetensors::parse(bytes_of(file_of("{}", "")), "m"));
}

TEST(Safetensors, RefusesBadEntries) {
    const auto one = [](std::string_view type, std::string_view shape, std::string_view offsets) {
        return refused(
            fmt::format(R"({{"t":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", type, shape, offsets),
            "12345678");
    };
    const std::string f32 = "\"F32\"";
    EXPECT_THAT(one(f32, "[3]", "[0,8]"),
                AllOf(StartsWith("m.safetensors: tensor 't':"), HasSubstr("needs 12 bytes")));
    EXPECT_THAT(one(f32, "[2]", "[0,12]"), HasSubstr("truncated"));
    EXPECT_THAT(one(f32, "[2]", "[8,0]"), HasSubstr("not [begin, end]"));
    EXPECT_THAT(one(f32, "[2]", "[0]"), HasSubstr("not [begin, end]"));
    EXPECT_THAT(one(f32, "[2]", "[0,8,8]"), HasSubstr("not [begin, end]"));
    EXPECT_THAT(one(f32, "[2]", "[-8,8]"), HasSubstr("neither a string nor a natural number"));
    EXPECT_THAT(one(f32, "[2]", "[0,8.0]"), HasSubstr("neither a string nor a natural number"));
    EXPECT_THAT(one(f32, "[2]", "[0,18446744073709551615]"), HasSubstr("out of range"));
    EXPECT_THAT(one(f32, "[2]", "\"0,8\""), HasSubstr("is a string"));
    EXPECT_THAT(one(f32, "[-2]", "[0,8]"), HasSubstr("neither a string nor a natural number"));
    EXPECT_THAT(one(f32, "[4294967296,4294967296]", "[0,8]"), HasSubstr("overflows"));
    EXPECT_THAT(one(f32, "[4611686018427387904]", "[0,8]"), HasSubstr("overflows"));
    EXPECT_THAT(one(f32, "[9223372036854775808]", "[0,8]"), HasSubstr("out of range"));
    EXPECT_THAT(one(f32, "[1,1,1,1,1,1,1,1,2]", "[0,8]"), HasSubstr("'shape' has more than 8 entries"));
    EXPECT_THAT(one(f32, "{}", "[0,8]"), HasSubstr("is an object"));
    EXPECT_THAT(one(f32, "2", "[0,8]"), HasSubstr("is a number"));
    EXPECT_THAT(one(f32, "[[2]]", "[0,8]"), HasSubstr("3 levels deep"));
    EXPECT_THAT(one(f32, "[\"2\"]", "[0,8]"), HasSubstr("is a string"));
    EXPECT_THAT(one("7", "[2]", "[0,8]"), HasSubstr("is a number"));
    EXPECT_THAT(one("[]", "[2]", "[0,8]"), HasSubstr("is an array"));
    EXPECT_THAT(one("null", "[2]", "[0,8]"), HasSubstr("neither a string"));
    EXPECT_THAT(refused(R"({"t":{"dtype":"F32","shape":[2]}})", "12345678"),
                HasSubstr("'data_offsets' is missing"));
    EXPECT_THAT(refused(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", "12345678"),
                HasSubstr("unknown key 'x'"));
    EXPECT_THAT(refused(R"({"t":[]})", ""), HasSubstr("is an array"));
    EXPECT_THAT(refused(R"({"t":7})", ""), HasSubstr("is a number"));
    EXPECT_THAT(refused(R"({"t":"x"})", ""), HasSubstr("is a string"));
    EXPECT_THAT(refused(R"({"t":{}})", ""), HasSubstr("'dtype' is missing"));
    for (const char* metadata : {R"({"a":1})", R"({"a":{}})", R"({"a":[]})", R"("a")", "[]", "1", "null"})
        EXPECT_THAT(refused(fmt::format(R"({{"__metadata__":{}}})", metadata), ""),
                    HasSubstr("'__metadata__' is not an object of strings"));
}

TEST(Safetensors, RangesMustTileTheData) {
    const auto two = [](int b1, int e1, int b2, int e2) {
        return refused("{" + entry("a", "I8", fmt::format("[{}]", e1 - b1), b1, e1) + "," +
                           entry("b", "I8", fmt::format("[{}]", e2 - b2), b2, e2) + "}",
                       "12345678");
    };
    EXPECT_THAT(two(0, 4, 5, 8), AllOf(HasSubstr("'b' starts at byte 5"), HasSubstr("ends at 4")));
    EXPECT_THAT(two(0, 4, 3, 8), HasSubstr("starts at byte 3"));
    EXPECT_THAT(two(0, 8, 0, 8), HasSubstr("starts at byte 0"));
    EXPECT_THAT(two(1, 4, 4, 8), HasSubstr("starts at byte 1"));
    EXPECT_THAT(two(0, 4, 4, 7), HasSubstr("end at byte 7 of 8"));
    EXPECT_THAT(two(0, 8, 5, 5), HasSubstr("starts at byte 5"));  // empty, inside another
}

TEST(Safetensors, RefusesDuplicates) {
    EXPECT_THAT(
        refused("{" + entry("a", "I8", "[4]", 0, 4) + "," + entry("a", "I8", "[4]", 4, 8) + "}", "12345678"),
        HasSubstr("'a' appears twice"));
    EXPECT_THAT(refused(R"({"t":{"dtype":"I8","dtype":"F32","shape":[8],"data_offsets":[0,8]}})", "12345678"),
                HasSubstr("'dtype' appears twice"));
    EXPECT_THAT(refused(R"({"__metadata__":{"a":"1","a":"2"}})", ""),
                HasSubstr("metadata 'a' appears twice"));
    EXPECT_THAT(refused(R"({"__metadata__":{},"__metadata__":{}})", ""), HasSubstr("two '__metadata__'"));
}

TEST(Safetensors, EveryTruncationIsAnError) {
    for (std::size_t size = 0; size < kSmall.size(); ++size) {
        const std::vector<char> cut(kSmall.begin(), kSmall.begin() + static_cast<std::ptrdiff_t>(size));
        EXPECT_THROW(Safetensors::parse(std::as_bytes(std::span(cut)), "m"), Error) << size;
    }
}

TEST(Safetensors, EveryBitFlipIsReadOrRefused) {
    int read = 0;
    for (std::size_t bit = 0; bit < kSmall.size() * 8; ++bit) {
        std::string flipped = kSmall;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
        try {
            touch(Safetensors::parse(bytes_of(flipped), "m"));
            ++read;
        } catch (const Error&) {
        }
    }
    EXPECT_GT(read, 100);  // those in the data, at least
}

TEST(Safetensors, AnyTilingRoundTrips) {
    rc::check("shapes and bytes come back", [] {
        const auto sizes = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 50));
        std::string header = "{";
        std::string data;
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            const int begin = static_cast<int>(data.size());
            data += std::string(static_cast<std::size_t>(sizes[i]), static_cast<char>(i));
            header += i ? "," : "";
            header +=
                entry(fmt::format("t{}", i), "I8", fmt::format("[{}, 1]", sizes[i]), begin, begin + sizes[i]);
        }
        const std::string bytes = file_of(header + "}", data);
        const auto file = Safetensors::parse(bytes_of(bytes), "m");
        RC_ASSERT(file.tensors().size() == sizes.size());
        for (std::size_t i = 0; i < sizes.size(); ++i)
            RC_ASSERT(text_of(file.get(fmt::format("t{}", i))) ==
                      std::string(static_cast<std::size_t>(sizes[i]), static_cast<char>(i)));
    });
}

class Sharded : public testing::Test {
  protected:
    void SetUp() override {
        write_file(
            dir / "one.safetensors",
            file_of("{" + entry("a", "I8", "[2]", 0, 2) + "," + entry("b", "I8", "[2]", 2, 4) + "}", "aabb"));
        write_file(
            dir / "two.safetensors",
            file_of("{" + entry("c", "I8", "[2]", 0, 2) + "," + entry("b", "I8", "[2]", 2, 4) + "}", "ccBB"));
    }
    void index(std::string_view weight_map) {
        write_file(dir / "model.safetensors.index.json",
                   fmt::format(R"({{"metadata": {{"total_size": 8}}, "weight_map": {}}})", weight_map));
    }
    std::string refused() {
        return error_of([&] { Safetensors file(dir.path()); });
    }
    TempDir dir;
};

TEST_F(Sharded, TheIndexDecidesWhereATensorComesFrom) {
    index(R"({"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"})");
    for (const auto& path : {dir.path(), dir / "model.safetensors.index.json"}) {
        const Safetensors file(path);
        EXPECT_EQ(file.tensors().size(), 3);
        EXPECT_EQ(file.files().size(), 2);
        EXPECT_EQ(text_of(file.get("a")), "aa");
        EXPECT_EQ(text_of(file.get("b")), "BB");
        EXPECT_EQ(text_of(file.get("c")), "cc");
        EXPECT_EQ(file.tensors()[1].file, 1);
    }
}

TEST_F(Sharded, DisagreementIsAnError) {
    index(R"({"a": "one.safetensors", "x": "two.safetensors"})");
    EXPECT_THAT(refused(), AllOf(HasSubstr("'x' is not in 'two.safetensors'")));
    index(R"({"a": "one.safetensors", "c": "three.safetensors"})");
    EXPECT_THAT(refused(), HasSubstr("'three.safetensors' is missing"));
    index("{}");
    EXPECT_THAT(refused(), HasSubstr("'weight_map' is missing or empty"));
    for (const char* bad : {"[]", "7", "null", "\"one.safetensors\"", R"({"a": 1})", R"({"a": {}})",
                            R"({"a": null})", R"(["one.safetensors"])"}) {
        index(bad);
        EXPECT_THAT(refused(), HasSubstr("'weight_map' is not an object of file names")) << bad;
    }
    index(R"({"a": "one.safetensors", "a": "one.safetensors"})");
    EXPECT_THAT(refused(), HasSubstr("'a' appears twice"));
    index(R"({"a": "one.safetensors"}, "weight_map": {"c": "two.safetensors"})");
    EXPECT_THAT(refused(), HasSubstr("two 'weight_map'"));
}

TEST_F(Sharded, TheIndexMayOnlyNameItsNeighbours) {
    for (const char* name : {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".", "",
                             "a\\\\b", "one\\u0000"}) {
        index(fmt::format(R"({{"a": "{}"}})", name));
        EXPECT_THAT(refused(), HasSubstr("not a plain file name")) << name;
    }
}

TEST_F(Sharded, BrokenShardIsNamed) {
    index(R"({"a": "one.safetensors", "c": "two.safetensors"})");
    std::filesystem::resize_file(dir / "two.safetensors", 100);
    EXPECT_THAT(refused(), HasSubstr((dir / "two.safetensors").string()));
}

TEST(Safetensors, DirectoryWithASingleFile) {
    const TempDir dir;
    EXPECT_THAT(error_of([&] { Safetensors file(dir.path()); }),
                AllOf(HasSubstr("model.safetensors.index.json"), HasSubstr("nor model.safetensors")));
    write_file(dir / "model.safetensors", kSmall);
    EXPECT_EQ(Safetensors(dir.path()).tensors().size(), 4);
    EXPECT_EQ(Safetensors(dir / "model.safetensors").tensors().size(), 4);
    EXPECT_THAT(error_of([&] { Safetensors file(dir / "other.safetensors"); }), HasSubstr("No such file"));
}

TEST(Safetensors, TruncationAfterOpenIsAnError) {
    const TempDir dir;
    write_file(dir / "model.safetensors", kSmall);
    const Safetensors file(dir.path());
    (void)file.get("a");
    std::filesystem::resize_file(dir / "model.safetensors", kSmall.size() - 1);
    EXPECT_THAT(error_of([&] { (void)file.get("a"); }), HasSubstr("truncated"));
}

TEST(Safetensors, ManyTensors) {
    std::string header = "{";
    constexpr int kCount = 70'000;
    for (int i = 0; i < kCount; ++i) {
        if (i > 0) header += ",";
        const std::string name = fmt::format("layers.{}.ffn.experts.{}.w1.weight", i / 1000, i % 1000);
        header += entry(name, "I8", "[1]", i, i + 1);
    }
    const std::string bytes = file_of(header + "}", std::string(kCount, 'x'));
    const auto file = Safetensors::parse(bytes_of(bytes), "m");
    EXPECT_EQ(file.tensors().size(), kCount);
    EXPECT_NE(file.find("layers.69.ffn.experts.999.w1.weight"), nullptr);
}

}  // namespace
}  // namespace cachalot
