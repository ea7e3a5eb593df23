// Every byte of a model counts for what it is known by.
#include "model/content_fingerprint.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <random>
#include <set>

#include "base/error.h"
#include "file/gguf.h"
#include "support/nano.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

void flip(const fs::path& path, std::uint64_t at, int bits) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte ^ bits));
}

Hash128 of(const fs::path& path) { return *content_fingerprint(*Model::load(path)); }

TEST(ContentFingerprint, AnyByteOfAnyTensorCounts) {
    test::TemporaryFolder folder;
    const auto copy = folder.path() / "nano.gguf";
    fs::copy_file(test::kNanoPath, copy);
    const auto good = *content_fingerprint(*test::nano());
    EXPECT_EQ(of(copy), good);  // wherever it lies
    std::mt19937_64 random(20260101);
    std::vector<std::uint64_t> places;
    {
        const Gguf file(copy);
        const auto* begin = file.files()[0].bytes().data();
        std::vector<const TensorView*> tensors;
        for (const auto& tensor : file.tensors()) tensors.push_back(&tensor.view);
        ASSERT_GT(tensors.size(), 50u);
        for (int i = 0; i < 12; ++i) {
            const auto& data = tensors[random() % tensors.size()]->data;
            places.push_back(static_cast<std::uint64_t>(data.data() - begin) + random() % data.size());
        }
        const auto& last = tensors.back()->data;
        places.push_back(static_cast<std::uint64_t>(last.data() - begin) + last.size() - 1);
    }
    std::set<Hash128> seen = {good};
    for (const auto place : places) {
        const int bits = 1 << (random() % 8);
        flip(copy, place, bits);
        try {
            EXPECT_TRUE(seen.insert(of(copy)).second) << "byte " << place;
        } catch (const Error&) {  // a model that does not load has no prefixes at all
        }
        flip(copy, place, bits);
    }
    EXPECT_EQ(of(copy), good);
}

TEST(ContentFingerprint, AllFilesOfAReleaseCount) {
    test::TemporaryFolder folder;
    test::TinyRelease release(folder.path());
    const auto good = of(folder.path());
    std::mt19937_64 random(7);
    int shards = 0;
    for (const auto& entry : fs::directory_iterator(folder.path())) {
        if (entry.path().extension() != ".safetensors") continue;
        ++shards;
        for (int i = 0; i < 4; ++i) {
            const auto place = entry.file_size() - 1 - random() % (entry.file_size() / 2);
            flip(entry.path(), place, 4);
            Hash128 other = good;
            try {
                other = of(folder.path());
            } catch (const Error&) {  // a table that names no expert
                other[0] ^= std::byte{1};
            }
            EXPECT_NE(other, good) << entry.path() << " " << place;
            flip(entry.path(), place, 4);
        }
    }
    EXPECT_GE(shards, 2);
    EXPECT_EQ(of(folder.path()), good);

    auto config = test::tiny_config();
    config["routed_scaling_factor"] = 1.25;
    std::ofstream(folder.path() / "config.json") << config;
    EXPECT_NE(of(folder.path()), good);
    std::ofstream(folder.path() / "config.json") << test::tiny_config();
    EXPECT_EQ(of(folder.path()), good);
}

TEST(ContentFingerprint, KeptHashesSaveTheReadingAndNothingElse) {
    test::TemporaryFolder folder;
    const auto copy = folder.path() / "nano.gguf";
    fs::copy_file(test::kNanoPath, copy);
    const auto model = Model::load(copy);
    const auto& stamp = model->checkpoint->files()[0].stamp();
    int reads = 0;
    const ContentFingerprintOptions options{KeptHashes(folder.path() / "hashes"),
                                            [&](std::uint64_t, std::uint64_t) {
                                                ++reads;
                                                return true;
                                            }};
    // As if it had been there for long.
    options.kept.keep(stamp, *content_hash(model->checkpoint->files()[0]), stamp.changed + 10'000'000'000);
    EXPECT_EQ(content_fingerprint(*model, options), *content_fingerprint(*test::nano()));
    EXPECT_EQ(reads, 0);

    // The time of modification is no excuse.
    struct stat before {};
    ASSERT_EQ(::stat(copy.c_str(), &before), 0);
    flip(copy, fs::file_size(copy) - 1000, 16);
    const timespec times[2] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, copy.c_str(), times, 0), 0);
    const auto other = Model::load(copy);
    EXPECT_NE(content_fingerprint(*other, options), *content_fingerprint(*test::nano()));
    EXPECT_GT(reads, 0);
    // Nor can the model that was changed while it is open be known.
    EXPECT_THROW(content_fingerprint(*model, options), Error);
}

TEST(ContentFingerprint, CanBeGivenUp) {
    EXPECT_EQ(content_fingerprint(*test::nano(), {KeptHashes({}), [](auto, auto) { return false; }}),
              std::nullopt);
}

TEST(TokenizerFingerprint, CountsTokensAndMerges) {
    const auto& data = test::nano()->tokenizer.data();
    const auto good = tokenizer_fingerprint(test::nano()->tokenizer);
    EXPECT_EQ(tokenizer_fingerprint(Tokenizer(data, "copy")), good);
    auto other = data;
    std::swap(other.merges[10], other.merges[11]);
    EXPECT_NE(tokenizer_fingerprint(Tokenizer(other, "other")), good);
}

}  // namespace
}  // namespace cachalot
