// A pack holds the experts of its model, byte for byte; anything else is refused.
#include "model/expert_pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "model/expert_parts.h"
#include "model/synthetic.h"
#include "support/nano.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Pack : public testing::Test {
  protected:
    void expect_experts_of(const Model& model, const ExpertPack& pack) {
        const auto bytes = pack.file().bytes();
        for (std::size_t l = 0; l < model.weights.layers.size(); ++l) {
            const auto& layer = pack.layout().layers[l];
            EXPECT_EQ(layer.offset % 4096, 0u);
            EXPECT_EQ(layer.stride % 4096, 0u);
            for (std::size_t e = 0; e < model.weights.layers[l].experts.size(); ++e) {
                const auto parts = parts_of(model.weights.layers[l].experts[e]);
                ASSERT_EQ(parts.size(), layer.parts.size());
                for (std::size_t p = 0; p < parts.size(); ++p) {
                    EXPECT_EQ(layer.parts[p] % 64, 0u);
                    EXPECT_EQ(std::memcmp(bytes.data() + layer.offset + e * layer.stride + layer.parts[p],
                                          parts[p].data, static_cast<std::size_t>(parts[p].bytes)),
                              0);
                }
            }
        }
    }
    std::string refused(const Model& model) {
        try {
            ExpertPack pack(model, path);
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), HasSubstr(path.string()));
            return e.what();
        }
        return "";
    }

    test::TemporaryFolder folder;
    const std::filesystem::path path = folder.path() / "x.pack";
};

TEST_F(Pack, HoldsTheExpertsAsTheyAre) {
    std::uint64_t last = 0;
    write_pack(*test::nano(), path, [&](std::uint64_t done, std::uint64_t total) {
        EXPECT_GT(done, last);
        EXPECT_LE(done, total);
        last = done;
    });
    EXPECT_EQ(last, std::filesystem::file_size(path));
    expect_experts_of(*test::nano(), ExpertPack(*test::nano(), path));
    // Scales of their own, in several files.
    const auto release = folder.path() / "release";
    std::filesystem::create_directory(release);
    test::TinyRelease make(release);
    const auto model = Model::load(release);
    EXPECT_EQ(default_pack_path(release), release / "experts.pack");
    write_pack(*model, release / "experts.pack");
    expect_experts_of(*model, ExpertPack(*model, release / "experts.pack"));
    EXPECT_EQ(default_pack_path("/m/x.gguf"), "/m/x.experts.pack");
    EXPECT_THROW(write_pack(*model, folder.path() / "no" / "x.pack"), Error);
}

TEST_F(Pack, NoOtherHeaderIsTaken) {
    const Model& model = *test::nano();
    write_pack(model, path);
    const auto bytes = ExpertPack(model, path).layout().header_bytes;
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    auto put = [&](std::size_t at, char c) {
        file.seekp(static_cast<std::streamoff>(at));
        file.put(c);
        file.flush();
    };
    for (std::size_t at = 0; at < bytes; at += at < 200 ? 1 : 61) {
        file.seekg(static_cast<std::streamoff>(at));
        const char was = static_cast<char>(file.get());
        put(at, static_cast<char>(was ^ 0x81));
        const std::string error = refused(model);
        EXPECT_THAT(error, HasSubstr(at < 8    ? "not a pack"
                                     : at < 24 ? "another model"
                                               : fmt::format("offset {}", at)));
        put(at, was);
    }
    EXPECT_EQ(refused(model), "");
    for (const std::uint64_t size : {std::filesystem::file_size(path) - 1, bytes, bytes - 1, std::uint64_t(8),
                                     std::uint64_t(7), std::uint64_t(0)}) {
        std::filesystem::resize_file(path, size);
        EXPECT_THAT(refused(model), HasSubstr(size < 8 ? "not a pack" : "truncated"));
    }
    std::filesystem::remove(path);
    EXPECT_NE(refused(model), "");
}

TEST_F(Pack, BelongsToOneModel) {
    SyntheticOptions options;
    std::shared_ptr<const Model> models[2];
    for (int i = 0; i < 2; ++i) {
        const auto gguf = folder.path() / fmt::format("{}.gguf", i);
        options.seed = static_cast<std::uint64_t>(i);
        write_synthetic(known_config("tiny"), options, gguf);
        models[i] = Model::load(gguf);
    }
    write_pack(*models[0], path);
    EXPECT_EQ(refused(*models[0]), "");
    EXPECT_THAT(refused(*models[1]), AllOf(HasSubstr("another model"), HasSubstr("1.gguf")));
}

}  // namespace
}  // namespace cachalot
