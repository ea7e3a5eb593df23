#include "file/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string str(std::string_view text) { return le<std::uint64_t>(text.size()) + std::string(text); }

template <class T>
std::string key(std::string_view name, GgufType type, T value) {
    return str(name) + le(static_cast<std::uint32_t>(type)) + le(value);
}

std::string string_key(std::string_view name, std::string_view value) {
    return str(name) + le(static_cast<std::uint32_t>(GgufType::string)) + str(value);
}

std::string array_key(std::string_view name, GgufType type, std::uint64_t count, std::string_view elements) {
    return str(name) + le(static_cast<std::uint32_t>(GgufType::array)) +
           le(static_cast<std::uint32_t>(type)) + le(count) + std::string(elements);
}

std::string tensor(std::string_view name, std::vector<std::uint64_t> dims, std::uint32_t type,
                   std::uint64_t offset) {
    std::string bytes = str(name) + le(static_cast<std::uint32_t>(dims.size()));
    for (auto d : dims) bytes += le(d);
    return bytes + le(type) + le(offset);
}

struct File {
    std::uint32_t version = 3;
    std::vector<std::string> keys;
    std::vector<std::string> tensors;
    std::string data;
    std::size_t alignment = 32;

    std::string bytes() const {
        std::string result =
            "GGUF" + le(version) + le<std::uint64_t>(tensors.size()) + le<std::uint64_t>(keys.size());
        for (const auto& k : keys) result += k;
        for (const auto& t : tensors) result += t;
        if (!data.empty()) result.resize((result.size() + alignment - 1) / alignment * alignment);
        return result + data;
    }
};

std::string refused(const std::string& bytes) {
    return error_of([&] { Gguf::parse(bytes_of(bytes), "m.gguf"); });
}
std::string refused(const File& file) { return refused(file.bytes()); }

// Touches everything that the reader hands out, so that the sanitizers see a wrong view.
std::size_t touch(const Gguf& file) {
    std::size_t sum = 0;
    for (const GgufValue& value : file.metadata().values()) sum += value_text(value, 1000).size();
    for (const StoredTensor& t : file.tensors()) {
        for (std::byte b : t.view.data) sum += static_cast<std::size_t>(b);
        if (t.supported) sum += static_cast<std::size_t>(file.get(t.view.name).elements());
    }
    return sum;
}

File small() {
    File file;
    file.keys = {string_key("general.architecture", "deepseek4"), key<std::uint32_t>("n", GgufType::u32, 7),
                 array_key("words", GgufType::string, 3, str("a") + str("") + str("ccc")),
                 array_key("ratios", GgufType::i32, 2, le<std::int32_t>(4) + le<std::int32_t>(-1))};
    file.tensors = {tensor("second", {2, 3}, 0, 32), tensor("first", {32}, 8, 64),
                    tensor("odd", {256}, 34, 0)};
    file.data = std::string(32, 'q') + std::string(24, 's') + std::string(8, '\0') + std::string(34, 'f');
    return file;
}

TEST(Gguf, ReadsMetadataAndTensors) {
    const std::string bytes = small().bytes();
    const auto file = Gguf::parse(bytes_of(bytes), "m.gguf");
    const auto& m = file.metadata();
    EXPECT_EQ(m.get<std::string_view>("general.architecture"), "deepseek4");
    EXPECT_EQ(m.get<std::uint32_t>("n"), 7);
    EXPECT_THAT(m.get<std::vector<std::string_view>>("words"), ElementsAre("a", "", "ccc"));
    EXPECT_THAT(m.get<std::vector<std::int32_t>>("ratios"), ElementsAre(4, -1));

    const TensorView& second = file.get("second");
    EXPECT_THAT(second.shape, ElementsAre(3, 2));  // outermost first
    EXPECT_EQ(second.dtype, DType::f32);
    EXPECT_EQ(text_of(second), std::string(24, 's'));
    EXPECT_EQ(file.get("first").dtype, DType::q8_0);
    EXPECT_EQ(text_of(file.get("first")), std::string(34, 'f'));
    EXPECT_EQ(file.tensors()[0].view.name, "second");  // in the order of the directory
    EXPECT_EQ(bytes.substr(file.tensors()[1].offset, 34), std::string(34, 'f'));
}

TEST(Gguf, UnknownTypesAreListedAndRefusedOnUse) {
    File raw = small();
    raw.tensors.push_back(tensor("odder", {1}, 42, 32));
    const std::string bytes = raw.bytes();
    const auto file = Gguf::parse(bytes_of(bytes), "m.gguf");
    EXPECT_EQ(file.tensors()[2].type, "TQ1_0 (34)");
    EXPECT_EQ(file.tensors()[3].type, "unknown type 42");
    EXPECT_EQ(file.tensors()[3].offset, file.tensors()[2].offset + 32);
    EXPECT_EQ(file.tensors()[0].type, "F32");
    EXPECT_THAT(error_of([&] { (void)file.get("odd"); }),
                AllOf(StartsWith("m.gguf:"), HasSubstr("'odd'"), HasSubstr("TQ1_0 (34)")));
    EXPECT_THAT(error_of([&] { (void)file.find("odder"); }),
                AllOf(HasSubstr("unknown type 42"), HasSubstr("cachalot convert")));
}

TEST(Gguf, KnowsTheTypesWeComputeWith) {
    // with the bytes of 256 values
    const std::vector<std::tuple<std::uint32_t, DType, int>> types = {
        {0, DType::f32, 1024},    {1, DType::f16, 512},     {8, DType::q8_0, 272},
        {10, DType::q2_k, 84},    {12, DType::q4_k, 144},   {16, DType::iq2_xxs, 66},
        {24, DType::i8, 256},     {26, DType::i32, 1024},   {27, DType::i64, 2048},
        {30, DType::bf16, 512},   {39, DType::mxfp4, 136},  {2, DType::q4_0, 144},
        {3, DType::q4_1, 160},    {6, DType::q5_0, 176},    {7, DType::q5_1, 192},
        {11, DType::q3_k, 110},   {13, DType::q5_k, 176},   {14, DType::q6_k, 210},
        {20, DType::iq4_nl, 144}, {23, DType::iq4_xs, 136}, {17, DType::iq2_xs, 74},
        {22, DType::iq2_s, 82},   {18, DType::iq3_xxs, 98}, {21, DType::iq3_s, 110},
        {19, DType::iq1_s, 50},   {29, DType::iq1_m, 56},   {0xf8e4, DType::f8_e4m3, 256}};
    for (const auto& [id, dtype, size] : types) {
        File raw;
        raw.tensors = {tensor("t", {256}, id, 0)};
        raw.data = std::string(static_cast<std::size_t>(size), 'x');
        const std::string bytes = raw.bytes();
        const auto file = Gguf::parse(bytes_of(bytes), "m.gguf");
        EXPECT_EQ(file.get("t").dtype, dtype) << id;
        EXPECT_EQ(file.get("t").data.size(), size) << id;
        EXPECT_EQ(ggml_from_dtype(dtype), id);
        raw.data.pop_back();
        EXPECT_THAT(refused(raw), HasSubstr("truncated")) << id;
    }
    EXPECT_THROW((void)ggml_from_dtype(DType::fp4_pairs), Error);

    File raw;
    raw.tensors = {tensor("narrow", {128}, 12, 0)};
    raw.data = std::string(144, 'x');
    EXPECT_THAT(refused(raw), AllOf(HasSubstr("'narrow'"), HasSubstr("q4_k blocks of 256")));
}

TEST(GgufMetadata, AnyIntegerTypeThatFits) {
    File raw;
    raw.keys = {key<std::uint8_t>("u8", GgufType::u8, 200), key<std::int16_t>("i16", GgufType::i16, -5),
                key<std::uint16_t>("u16", GgufType::u16, 65'535), key<std::int64_t>("i64", GgufType::i64, -1),
                key<std::uint64_t>("u64", GgufType::u64, std::numeric_limits<std::uint64_t>::max())};
    const std::string bytes = raw.bytes();
    const auto file = Gguf::parse(bytes_of(bytes), "m.gguf");
    const auto& m = file.metadata();
    EXPECT_EQ(m.get<std::uint32_t>("u8"), 200);
    EXPECT_EQ(m.get<std::int32_t>("i16"), -5);
    EXPECT_EQ(m.get<std::int32_t>("u16"), 65'535);
    EXPECT_EQ(m.get<std::uint64_t>("u64"), std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(m.get<float>("u8"), 200.0f);
    EXPECT_THAT(error_of([&] { (void)m.get<std::uint32_t>("i16"); }),
                AllOf(StartsWith("m.gguf: key 'i16'"), HasSubstr("-5 is out of range")));
    EXPECT_THROW((void)m.get<std::uint64_t>("i64"), Error);
    EXPECT_THROW((void)m.get<std::int64_t>("u64"), Error);
    EXPECT_THROW((void)m.get<bool>("u8"), Error);
}

TEST(GgufMetadata, FloatsBoolsAndMissingKeys) {
    File raw;
    raw.keys = {key<float>("f32", GgufType::f32, 1.5f),
                key<double>("f64", GgufType::f64, 0.1),
                key<double>("huge", GgufType::f64, 1e300),
                key<std::uint8_t>("yes", GgufType::boolean, 1),
                string_key("text", "x"),
                array_key("doubles", GgufType::f64, 2, le(1.0) + le(2.5))};
    const std::string bytes = raw.bytes();
    const auto file = Gguf::parse(bytes_of(bytes), "m.gguf");
    const auto& m = file.metadata();
    EXPECT_EQ(m.get<float>("f32"), 1.5f);
    EXPECT_EQ(m.get<double>("f32"), 1.5);
    EXPECT_EQ(m.get<float>("f64"), 0.1f);
    EXPECT_THROW((void)m.get<float>("huge"), Error);
    EXPECT_TRUE(m.get<bool>("yes"));
    EXPECT_THAT(m.get<std::vector<float>>("doubles"), ElementsAre(1.0f, 2.5f));
    EXPECT_EQ(m.find<std::uint32_t>("absent"), std::nullopt);
    EXPECT_EQ(m.get_or<std::uint32_t>("absent", 3), 3);
    EXPECT_THAT(error_of([&] { (void)m.get<std::uint32_t>("absent"); }),
                HasSubstr("m.gguf: key 'absent' is missing"));
    EXPECT_THAT(error_of([&] { (void)m.get<std::uint32_t>("f32"); }),
                HasSubstr("is f32, expected an integer"));
    EXPECT_THAT(error_of([&] { (void)m.get<float>("text"); }), HasSubstr("is str, expected a number"));
    EXPECT_THAT(error_of([&] { (void)m.get<std::string_view>("f32"); }), HasSubstr("expected a string"));
    EXPECT_THAT(error_of([&] { (void)m.get<float>("doubles"); }),
                HasSubstr("is f64[2], expected a single value"));
    EXPECT_THAT(error_of([&] { (void)m.get<std::vector<float>>("f32"); }), HasSubstr("expected an array"));
    EXPECT_THAT(error_of([&] { (void)m.get<std::vector<std::int32_t>>("doubles"); }),
                HasSubstr("expected an integer"));
}

TEST(GgufMetadata, TextForPeople) {
    File raw = small();
    raw.keys.push_back(string_key("evil", "a\x1b[2Jb"));
    raw.keys.push_back(key<float>("f", GgufType::f32, 1e-6f));
    const std::string bytes = raw.bytes();
    const auto file = Gguf::parse(bytes_of(bytes), "m.gguf");
    const auto text = [&](const char* name) { return value_text(*file.metadata().value(name), 2); };
    EXPECT_EQ(text("n"), "7");
    EXPECT_EQ(text("words"), "['a', '', ...]");
    EXPECT_EQ(text("ratios"), "[4, -1]");
    EXPECT_EQ(text("evil"), "'a\\x1b[2Jb'");
    EXPECT_EQ(text("f"), "1e-06");
    EXPECT_EQ(type_text(*file.metadata().value("words")), "str[3]");
    EXPECT_EQ(type_text(*file.metadata().value("n")), "u32");
}

TEST(Gguf, VersionsAndMagic) {
    File raw = small();
    raw.version = 2;
    const std::string bytes = raw.bytes();
    EXPECT_EQ(Gguf::parse(bytes_of(bytes), "m").tensors().size(), 3);
    raw.version = 1;
    EXPECT_THAT(refused(raw), HasSubstr("version 1"));
    raw.version = 3u << 24;
    EXPECT_THAT(refused(raw), HasSubstr("big-endian"));
    EXPECT_THAT(refused(""), HasSubstr("not a GGUF file"));
    EXPECT_THAT(refused("GGU"), HasSubstr("not a GGUF file"));
    EXPECT_THAT(refused("GGML" + std::string(100, '\0')), HasSubstr("not a GGUF file"));
}

TEST(Gguf, HonoursTheAlignment) {
    File raw = small();
    raw.alignment = 4096;
    raw.keys.push_back(key<std::uint32_t>("general.alignment", GgufType::u32, 4096));
    raw.tensors = {tensor("a", {2}, 0, 0), tensor("b", {2}, 0, 4096)};
    raw.data = "aaaaaaaa" + std::string(4088, '\0') + "bbbbbbbb";
    const std::string bytes = raw.bytes();
    EXPECT_EQ(text_of(Gguf::parse(bytes_of(bytes), "m").get("b")), "bbbbbbbb");
    raw.tensors[1] = tensor("b", {2}, 0, 32);
    EXPECT_THAT(refused(raw), HasSubstr("'b': offset 32 is not a multiple of 4096"));
    for (std::uint32_t bad : {0u, 3u, 48u, 1u << 31}) {
        raw.keys.back() = key<std::uint32_t>("general.alignment", GgufType::u32, bad);
        EXPECT_THAT(refused(raw), HasSubstr("power of two")) << bad;
    }
}

TEST(Gguf, RefusesCountsThatTheFileCouldNotHold) {
    for (std::uint64_t count : {std::uint64_t{5}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
        EXPECT_THAT(
            refused("GGUF" + le<std::uint32_t>(3) + le<std::uint64_t>(0) + le(count) + std::string(60, '\0')),
            HasSubstr("metadata keys, more than it could hold"));
        EXPECT_THAT(
            refused("GGUF" + le<std::uint32_t>(3) + le(count) + le<std::uint64_t>(0) + std::string(60, '\0')),
            HasSubstr("tensors, more than it could hold"));
        File raw;
        raw.keys = {str("k") + le(static_cast<std::uint32_t>(GgufType::string)) + le(count)};
        EXPECT_THAT(refused(raw), HasSubstr("truncated"));
        raw.keys = {array_key("k", GgufType::f64, count, "")};
        EXPECT_THAT(refused(raw), testing::AnyOf(HasSubstr("truncated"), HasSubstr("claims")));
        raw.keys = {array_key("k", GgufType::string, count, "")};
        EXPECT_THAT(refused(raw), testing::AnyOf(HasSubstr("truncated"), HasSubstr("claims")));
        raw.keys = {le(count)};
        EXPECT_THAT(refused(raw), testing::AnyOf(HasSubstr("truncated"), HasSubstr("could hold")));
    }
}

TEST(Gguf, RefusesBadMetadata) {
    File raw;
    raw.keys = {key<std::uint32_t>("a", static_cast<GgufType>(13), 1)};
    EXPECT_THAT(refused(raw), HasSubstr("'a' has the unknown type 13"));
    raw.keys = {array_key("a", static_cast<GgufType>(99), 0, "")};
    EXPECT_THAT(refused(raw), HasSubstr("unknown type 99"));
    raw.keys = {array_key("a", GgufType::array, 1, std::string(100, '\0'))};
    EXPECT_THAT(refused(raw), HasSubstr("'a' is an array of arrays"));
    raw.keys = {key<std::uint32_t>("a", GgufType::u32, 1), key<std::uint32_t>("a", GgufType::u32, 1)};
    EXPECT_THAT(refused(raw), HasSubstr("'a' appears twice"));
    raw.keys = {key<std::uint32_t>(std::string(70'000, 'x'), GgufType::u32, 1)};
    EXPECT_THAT(refused(raw), AllOf(HasSubstr("70000 bytes long"), testing::SizeIs(testing::Lt(300))));
    raw.keys = {string_key("general.alignment", "32")};
    EXPECT_THAT(refused(raw), HasSubstr("expected an integer"));
}

TEST(Gguf, RefusesBadTensors) {
    const auto one = [](std::vector<std::uint64_t> dims, std::uint32_t type, std::uint64_t offset) {
        File raw;
        raw.tensors = {tensor("t", std::move(dims), type, offset)};
        raw.data = std::string(64, 'x');
        return refused(raw);
    };
    EXPECT_THAT(one({17}, 0, 0), AllOf(StartsWith("m.gguf: tensor 't':"), HasSubstr("needs 68 bytes"),
                                       HasSubstr("truncated")));
    EXPECT_THAT(one({9}, 0, 32), HasSubstr("truncated"));
    EXPECT_THAT(one({1}, 0, 96), HasSubstr("truncated"));
    EXPECT_THAT(one({1}, 0, ~std::uint64_t{31}), HasSubstr("truncated"));
    EXPECT_THAT(one({1}, 99, ~std::uint64_t{31}), HasSubstr("truncated"));
    EXPECT_THAT(one({1}, 0, 1), HasSubstr("not a multiple"));
    EXPECT_THAT(one({33}, 8, 0), HasSubstr("not a whole number of q8_0 blocks"));
    EXPECT_THAT(one({16, 2}, 39, 0), HasSubstr("not a whole number of mxfp4 blocks"));
    EXPECT_THAT(one({std::uint64_t{1} << 32, std::uint64_t{1} << 32}, 0, 0), HasSubstr("overflows"));
    EXPECT_THAT(one({std::uint64_t{1} << 62}, 0, 0), HasSubstr("overflows"));
    EXPECT_THAT(one({0, std::uint64_t{1} << 62, 4}, 0, 0), HasSubstr("overflows"));
    EXPECT_THAT(one({~std::uint64_t{0}}, 0, 0), HasSubstr("has a dimension of"));
    EXPECT_THAT(one(std::vector<std::uint64_t>(9, 1), 0, 0), HasSubstr("9 dimensions"));
    File raw = small();
    raw.tensors[1] = raw.tensors[0];
    EXPECT_THAT(refused(raw), HasSubstr("'second' appears twice"));
}

TEST(Gguf, EmptyTensorsAndScalars) {
    File raw;
    raw.tensors = {tensor("scalar", {}, 0, 0), tensor("none", {0, 5}, 0, 32)};
    raw.data = std::string(32, 'x');
    const std::string bytes = raw.bytes();
    const auto file = Gguf::parse(bytes_of(bytes), "m");
    EXPECT_EQ(file.get("scalar").elements(), 1);
    EXPECT_EQ(file.get("none").elements(), 0);
}

TEST(Gguf, EveryTruncationIsAnError) {
    const std::string whole = small().bytes();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        EXPECT_THROW(Gguf::parse(std::as_bytes(std::span(cut)), "m"), Error) << size;
    }
}

TEST(Gguf, EveryBitFlipIsReadOrRefused) {
    const std::string whole = small().bytes();
    int read = 0;
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
        std::string flipped = whole;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
        try {
            touch(Gguf::parse(bytes_of(flipped), "m"));
            ++read;
        } catch (const Error&) {
        }
    }
    EXPECT_GT(read, 700);  // those in the data, at least
}

TEST(Gguf, LargeVocabulary) {
    std::string words;
    constexpr std::uint64_t kCount = 130'000;
    for (std::uint64_t i = 0; i < kCount; ++i) words += str(fmt::format("word{}", i));
    File raw;
    raw.keys = {array_key("tokens", GgufType::string, kCount, words)};
    const std::string bytes = raw.bytes();
    const auto file = Gguf::parse(bytes_of(bytes), "m");
    const auto tokens = file.metadata().get<std::vector<std::string_view>>("tokens");
    ASSERT_EQ(tokens.size(), kCount);
    EXPECT_EQ(tokens.back(), "word129999");
    EXPECT_GE(tokens.back().data(), bytes.data());  // not a copy
    EXPECT_LT(tokens.back().data(), bytes.data() + bytes.size());
}

class SplitGguf : public testing::Test {
  protected:
    void SetUp() override {
        for (int i = 0; i < 3; ++i) write_file(path(i), part(i, 3).bytes());
    }
    std::filesystem::path path(int i) const { return dir / fmt::format("m-{:05}-of-00003.gguf", i + 1); }
    static File part(int number, int count) {
        File raw;
        raw.keys = {key<std::uint16_t>("split.no", GgufType::u16, static_cast<std::uint16_t>(number)),
                    key<std::uint16_t>("split.count", GgufType::u16, static_cast<std::uint16_t>(count)),
                    key<std::int32_t>("split.tensors.count", GgufType::i32, 2)};
        if (number == 0) {
            raw.keys.push_back(string_key("general.name", "split"));  // the first part has no tensors
        } else {
            raw.tensors = {tensor(fmt::format("t{}", number), {1}, 0, 0)};
            raw.data = std::string(4, static_cast<char>('0' + number));
        }
        return raw;
    }
    std::string refused(int i = 0) {
        return error_of([&] { Gguf file(path(i)); });
    }
    TempDir dir;
};

TEST_F(SplitGguf, LooksLikeOneFile) {
    const Gguf file(path(0));
    EXPECT_EQ(file.metadata().get<std::string_view>("general.name"), "split");
    EXPECT_EQ(file.files().size(), 3);
    EXPECT_EQ(text_of(file.get("t1")), "1111");
    EXPECT_EQ(text_of(file.get("t2")), "2222");
    EXPECT_EQ(file.tensors()[1].file, 2);
}

TEST_F(SplitGguf, MissingPartIsNamed) {
    std::filesystem::remove(path(2));
    EXPECT_THAT(refused(), AllOf(HasSubstr("part 3 of 3 is missing"), HasSubstr(path(2).string())));
}

TEST_F(SplitGguf, LaterPartNamesTheFirst) {
    EXPECT_THAT(refused(1),
                AllOf(HasSubstr("is part 2 of 3"), HasSubstr("open the first part, " + path(0).string())));
}

TEST_F(SplitGguf, PartsMustAgree) {
    write_file(path(1), part(2, 3).bytes());
    EXPECT_THAT(refused(), AllOf(HasSubstr(path(1).string()),
                                 HasSubstr("says that it is part 3 of 3, expected part 2 of 3")));
    write_file(path(1), part(1, 2).bytes());
    EXPECT_THAT(refused(), HasSubstr("says that it is part 2 of 2"));
    File raw = part(1, 3);
    raw.keys.clear();
    write_file(path(1), raw.bytes());
    EXPECT_THAT(refused(), HasSubstr("'split.no' is missing"));
    raw = part(1, 3);
    raw.tensors = part(2, 3).tensors;
    write_file(path(1), raw.bytes());
    EXPECT_THAT(refused(), HasSubstr("'t2' appears twice"));
    raw.tensors.clear();
    write_file(path(1), raw.bytes());
    EXPECT_THAT(refused(), HasSubstr("hold 1 tensors, expected 2"));
}

TEST_F(SplitGguf, RenamedFirstPart) {
    std::filesystem::rename(path(0), dir / "model.gguf");
    EXPECT_THAT(error_of([&] { Gguf file(dir / "model.gguf"); }),
                HasSubstr("name must end in -00001-of-00003.gguf"));
}

TEST(Gguf, TruncationAfterOpenIsAnError) {
    const TempDir dir;
    const std::string bytes = small().bytes();
    write_file(dir / "m.gguf", bytes);
    const Gguf file(dir / "m.gguf");
    (void)file.get("first");
    std::filesystem::resize_file(dir / "m.gguf", bytes.size() - 1);
    EXPECT_THAT(error_of([&] { (void)file.get("first"); }), HasSubstr("truncated"));
}

}  // namespace
}  // namespace cachalot
