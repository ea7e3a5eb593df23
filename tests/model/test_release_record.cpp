// Records of releases that no release can have left: refused by name, and nothing is written.
#include "model/release_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "file/gguf.h"
#include "file/gguf_writer.h"
#include "model/convert.h"
#include "model/gguf_checkpoint.h"
#include "model/synthetic_release.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Texts = std::vector<std::string>;

constexpr const char* kFiles = "cachalot.release.files";
constexpr const char* kContents = "cachalot.release.contents";

class ReleaseRecords : public testing::Test {
  protected:
    ReleaseRecords() {
        Config config = known_config("tiny");
        set_layers(config, 2);
        config.experts = 2;
        config.experts_per_token = 1;
        write_synthetic_release(config, 7, folder.path() / "release");
        convert(*Checkpoint::open(folder.path() / "release"), folder.path() / "right.gguf",
                {.types = {.dense = DType::f8_e4m3}, .threads = 1});
        const Gguf right(folder.path() / "right.gguf");
        names = strings(right, kFiles);
        contents = strings(right, kContents);
    }
    static Texts strings(const Gguf& file, const char* key) {
        const auto views = *file.metadata().find<std::vector<std::string_view>>(key);
        return {views.begin(), views.end()};
    }
    std::string& text(std::string_view end) {
        for (std::size_t i = 0; i < names.size(); ++i)
            if (names[i].ends_with(end)) return contents[i];
        throw std::runtime_error("no such file");
    }
    // What is said of the model with this record; "": the release was written.
    std::string written() {
        const Gguf right(folder.path() / "right.gguf");
        const auto path = folder.path() / "x.gguf", output = folder.path() / "out" / "back";
        GgufWriter writer(path);
        for (const auto& value : right.metadata().values())
            if (!GgufWriter::is_container_key(value.key)) writer.copy(value);
        writer.set_strings(kFiles, names);
        writer.set_strings(kContents, contents);
        for (const auto& t : right.tensors()) writer.declare(t.view.name, t.view.dtype, t.view.shape);
        for (const auto& t : right.tensors()) writer.append(t.view.name, t.view.data);
        writer.finish();
        fs::remove_all(folder.path() / "out");
        fs::create_directory(folder.path() / "out");
        try {
            write_release(GgufCheckpoint(path), output);
        } catch (const Error& e) {
            EXPECT_FALSE(fs::exists(output));
            EXPECT_THAT(e.what(), HasSubstr("x.gguf"));
            return e.what();
        }
        return "";
    }
    static void replace(std::string& text, const std::string& from, const std::string& to) {
        const auto at = text.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        text.replace(at, from.size(), to);
    }

    test::TemporaryFolder folder;
    Texts names, contents;
};

TEST_F(ReleaseRecords, NamesAreThoseOfFilesInTheFolder) {
    EXPECT_EQ(written(), "");
    const auto right = names;
    for (const std::string bad : {"", ".", "..", ".made-from", "../x", "a/b", "/tmp/x", "a\\b"}) {
        names = right;
        names.front() = bad;
        EXPECT_THAT(written(), HasSubstr("is not the name of a file")) << bad;
        EXPECT_TRUE(fs::is_empty(folder.path() / "out")) << bad;
    }
    names = right;
    names.front() = std::string("a\0b", 3);
    EXPECT_THAT(written(), HasSubstr("is not the name of a file"));
    names.front() = names.back();
    EXPECT_THAT(written(), HasSubstr("appears twice"));
}

TEST_F(ReleaseRecords, PlacesOfTensorsAreRangesOfBytes) {
    const auto right = contents;
    for (const std::string bad :
         {"[-1,", "[1.5,", "[1e300,", "[null,", "[99999999999999999999,", "[18446744073709551615,"}) {
        contents = right;
        replace(text(".safetensors"), "[0,", bad);
        EXPECT_NE(written(), "") << bad;
    }
}

TEST_F(ReleaseRecords, TextsOfManyLevelsAreRefused) {
    const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
    text(".index.json").insert(1, "\"x\": " + deep + ",");
    EXPECT_THAT(written(), HasSubstr("levels"));
}

}  // namespace
}  // namespace cachalot
