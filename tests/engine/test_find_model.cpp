// Which model a command runs, and what the words of its options mean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "engine/open_engine.h"
#include "support/nano.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

class FindModel : public testing::Test {
  protected:
    FindModel() {
        if (const char* value = std::getenv("CACHALOT_MODEL")) before_ = value;
        unsetenv("CACHALOT_MODEL");
    }
    ~FindModel() override {
        unsetenv("CACHALOT_MODEL");
        if (before_) setenv("CACHALOT_MODEL", before_->c_str(), 1);
    }
    static fs::path shipped(const std::string& name) {
        return fs::path(CACHALOT_MODELS) / name / (name + ".gguf");
    }

  private:
    std::optional<std::string> before_;
};

TEST_F(FindModel, NamesOfShippedModelsAreTheirFiles) {
    for (const std::string name : {"nano", "nano41"}) {
        EXPECT_TRUE(fs::equivalent(find_model(name), shipped(name))) << name;
        setenv("CACHALOT_MODEL", name.c_str(), 1);
        EXPECT_TRUE(fs::equivalent(find_model(""), shipped(name))) << name;
        EXPECT_FALSE(finds_nano(""));
        unsetenv("CACHALOT_MODEL");
    }
    EXPECT_TRUE(fs::equivalent(find_model("nano-dspark"), CACHALOT_MODELS "/nano/nano-dspark.gguf"));
}

TEST_F(FindModel, WithoutANameItIsNano) {
    EXPECT_TRUE(fs::equivalent(find_model(""), shipped("nano")));
    EXPECT_TRUE(finds_nano(""));
    setenv("CACHALOT_MODEL", "", 1);
    EXPECT_TRUE(fs::equivalent(find_model(""), shipped("nano")));
}

TEST_F(FindModel, OtherNamesArePaths) {
    for (const std::string path : {"nano42", "NANO41", "nano41.gguf", "./nano41", "/models/nano", "nano/"})
        EXPECT_EQ(find_model(path), path);
    setenv("CACHALOT_MODEL", "/models/flash.gguf", 1);
    EXPECT_EQ(find_model(""), "/models/flash.gguf");
    EXPECT_EQ(find_model("other.gguf"), "other.gguf");
}

// What the user has in the folder is what is meant.
TEST_F(FindModel, AFileOfThatNameComesFirst) {
    const test::TemporaryFolder folder;
    std::ofstream(folder.path() / "nano41") << "a model";
    const auto before = fs::current_path();
    fs::current_path(folder.path());
    EXPECT_EQ(find_model("nano41"), "nano41");
    EXPECT_TRUE(fs::equivalent(find_model("nano"), shipped("nano")));
    fs::current_path(before);
}

TEST(DecoderPrefillOption, IsANumberOfTokensOrAWord) {
    const Config config = test::nano()->config;
    const auto tokens = [&](const char* text) {
        OpenEngineOptions o;
        o.decoder_prefill = text;
        return decoder_prefill_tokens(o, config);
    };
    EXPECT_EQ(tokens("exact"), 0);
    EXPECT_EQ(tokens("auto"), 0) << "layers of V4 cannot be left out";
    EXPECT_EQ(tokens("1"), 1);
    EXPECT_EQ(tokens("140"), 140);
    EXPECT_EQ(tokens("4k"), 4096);
    EXPECT_EQ(tokens("2K"), 2048);
    for (const char* wrong :
         {"", "k", "0", "0k", "-1", "1.5", "1kk", "1k ", " 1", "2097152k", "99999999999", "Exact"})
        EXPECT_THROW(check_decoder_prefill(wrong), Error) << wrong;
}

}  // namespace
}  // namespace cachalot
