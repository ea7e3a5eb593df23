#include "model/checkpoint_files.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "support/tiny_release.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::IsSupersetOf;
using testing::Not;

TEST(CheckpointFiles, AFolderIsARelease) {
    const test::TemporaryFolder folder;
    const fs::path file = folder.path() / "m.gguf";
    EXPECT_EQ(checkpoint_kind(folder.path()), CheckpointKind::release);
    EXPECT_EQ(checkpoint_kind(file), CheckpointKind::gguf);  // which does not exist
    std::ofstream(file) << "x";
    EXPECT_EQ(checkpoint_kind(file), CheckpointKind::gguf);
    EXPECT_TRUE(names_model_file("m.gguf"));
    EXPECT_FALSE(names_model_file("gguf"));
    EXPECT_FALSE(names_model_file("m.gguf?"));
}

TEST(CheckpointFiles, BelongTogether) {
    const test::TemporaryFolder folder;
    const auto in = [&](const char* name) { return folder.path() / name; };
    for (const char* name : {"a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "b-00001-of-00002.gguf",
                             "one.gguf", "model.safetensors", "config.json", "notes.txt"})
        std::ofstream(in(name)) << "x";
    EXPECT_THAT(checkpoint_files(in("one.gguf")), ElementsAre(in("one.gguf")));
    EXPECT_THAT(checkpoint_files(in("a-00001-of-00002.gguf")),
                IsSupersetOf({in("a-00001-of-00002.gguf"), in("a-00002-of-00002.gguf")}));
    EXPECT_THAT(checkpoint_files(in("a-00001-of-00002.gguf")), Not(Contains(in("b-00001-of-00002.gguf"))));
    const auto release = checkpoint_files(folder.path());
    EXPECT_THAT(release, IsSupersetOf({in("model.safetensors"), in("config.json")}));
    EXPECT_THAT(release, Not(Contains(in("notes.txt"))));
}

}  // namespace
}  // namespace cachalot
