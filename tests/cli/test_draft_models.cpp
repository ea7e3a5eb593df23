// What the program says of drafters, and makes of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

TEST_F(Commands, DraftersAreNamedAndConverted) {
    json config = test::tiny_config();
    config["compress_ratios"].push_back(0);
    config["num_nextn_predict_layers"] = 1;
    for (const char* name : {"plain", "mtp"}) std::filesystem::create_directory(path(name));
    test::TinyRelease plain(path("plain")), mtp(path("mtp"), config);
    EXPECT_THAT(run("inspect " + path("mtp")).out, HasSubstr("drafter   MTP, "));
    const std::string both = path("both.gguf");
    EXPECT_EQ(run("convert " + path("plain") + " " + both + " --draft-model " + path("mtp")).status, 0);
    EXPECT_EQ(json::parse(run("inspect --json " + both).out)["drafter"]["kind"], "mtp");
    expect_error("convert " + path("plain") + " " + path("x.gguf") + " --draft-model " + path("plain"),
                 "has no drafter");
    expect_usage("convert " + path("plain") + " " + path("x.gguf") + " --leave-out drafter --draft-model " +
                     path("mtp"),
                 "--draft-model");
    expect_usage("convert --pack " + path("plain") + " --draft-model " + path("mtp"), "--draft-model");
}

}  // namespace
}  // namespace cachalot
