// What the program says of drafters, and makes of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

TEST_F(Commands, DraftersAreNamedAndConverted) {
    const auto o = run("inspect nano-dspark");
    EXPECT_THAT(o.out, AllOf(HasSubstr("drafter   DSpark, 3 stages, blocks of 5, noise token 202; "
                                       "reads layers 5, 6, 7; 32 experts, 4 active, 1 shared; 13."),
                             HasSubstr("cannot be run: a drafter without its model"),
                             HasSubstr("models of 8 layers and more, width 256, heads of 128")));
    const auto drafter = json::parse(run("inspect --json nano-dspark").out)["drafter"];
    EXPECT_EQ(drafter["kind"], "dspark");
    EXPECT_EQ(drafter["stages"], 3);
    EXPECT_EQ(drafter["block_size"], 5);
    EXPECT_EQ(drafter["noise_token"], 202);
    EXPECT_EQ(drafter["target_layers"], json({5, 6, 7}));
    EXPECT_EQ(drafter["experts"], 32);
    EXPECT_GT(drafter["bytes"], 13'000'000);
    EXPECT_FALSE(json::parse(run("inspect --json").out).contains("drafter"));
    expect_error("run -p hi -m nano-dspark", "--draft-model");

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

// Drafts of the drafter that lies beside the model; one of another kind is not what was asked for.
TEST_F(Commands, DraftsOfTheMtpBlockChangeNoText) {
    const std::string answer = "run --raw -p 'The capital of France is' -n 24 --temp 0 --ignore-eos";
    const std::string beside = " --draft-model " CACHALOT_TEST_DATA "/nano-mtp";
    const auto plain = run(answer + " --draft off");
    for (const char* draft : {" --draft mtp", " --draft mtp --draft-max 2", " --draft auto"}) {
        const auto drafted = run(answer + beside + draft + " --stats");
        EXPECT_EQ(drafted.status, 0) << drafted.err;
        EXPECT_EQ(drafted.out, plain.out);
        EXPECT_THAT(drafted.err, HasSubstr("drafts    "));
    }
    expect_error(answer + beside + " --draft dspark", "--draft dspark: ");
    expect_error(answer + " --draft mtp", "has no such drafter");
}

// The same answers with and without drafts, in turns.
TEST_F(Commands, BenchComparesDrafts) {
    std::ofstream(path("question.txt")) << "What is the capital of France?";
    std::ofstream(path("talk.json")) << R"({"messages": [{"role": "user", "content": "Count to ten."}]})";
    const std::string bench = "bench --json -t 2 -n 12 -r 2 -f " + path("question.txt") + " ";
    for (const char* draft : {"--draft dspark --draft-model nano-dspark", "--draft lookup", "--draft auto"}) {
        const auto o = run(bench + draft + " --messages " + path("talk.json"));
        ASSERT_EQ(o.status, 0) << o.err;
        const auto result = json::parse(o.out);
        EXPECT_EQ(result["drafts_from"],
                  std::string(draft).starts_with("--draft dspark") ? "dspark" : "lookup");
        ASSERT_EQ(result["rows"].size(), 2u);
        EXPECT_EQ(result["rows"][0]["text"], "question.txt");
        EXPECT_EQ(result["rows"][1]["text"], "talk.json");
        for (const auto& row : result["rows"]) {
            EXPECT_GT(row["tokens"], 1);
            EXPECT_LE(row["tokens"], 12);
            EXPECT_EQ(row["gain_each"].size(), 2u);
            EXPECT_GT(row["gain"], 0);
            EXPECT_GT(row["plain_tokens_per_second"], 0);
            EXPECT_LE(row["accepted_tokens"], row["drafted_tokens"]);
            EXPECT_LE(row["drafts"], row["drafted_tokens"]);
            if (result["drafts_from"] == "dspark") {
                EXPECT_GT(row["drafts"], 0);
                EXPECT_NEAR(row["mean_accepted"].get<double>(),
                            row["accepted_tokens"].get<double>() / row["drafts"].get<double>(), 1e-9);
            }
        }
    }
    const auto table = run("bench -n 8 -r 1 --raw --draft lookup -f " + path("question.txt"));
    EXPECT_THAT(table.out, AllOf(HasSubstr("drafts from lookup"), HasSubstr("question.txt")));
    expect_usage("bench --draft lookup", "-f or --messages");
    expect_usage("bench -f " + path("question.txt"), "--draft MODE");
    expect_usage(bench + "--draft auto -p 5", "--prefill");
    expect_usage("bench --draft auto --raw", "--file");
    expect_error(bench + "--draft mtp", "has no such drafter");
    std::ofstream(path("empty.txt"));
    expect_error("bench --draft lookup -f " + path("empty.txt"), "empty.txt: is empty");
    expect_error("bench --draft lookup --messages " + path("question.txt"), "question.txt");
}

TEST_F(Commands, PlanCountsTheDrafter) {
    const std::string plan = "plan --no-estimate -c 4096 --memory 8GB ";
    const auto bytes = [&](const std::string& options) {
        return json::parse(run(plan + "--json " + options).out)["bytes"];
    };
    const auto plain = bytes(""), drafting = bytes("--draft-model nano-dspark");
    EXPECT_EQ(plain["drafter"], 0);
    EXPECT_NEAR(drafting["drafter"].get<double>(), 13.7e6, 0.4e6);
    EXPECT_GT(drafting["buffers"], plain["buffers"].get<double>());
    EXPECT_GT(drafting["attention_states"], plain["attention_states"].get<double>());
    EXPECT_GT(bytes("--parallel 4 --draft-model nano-dspark")["buffers"], drafting["buffers"].get<double>());
    EXPECT_THAT(run(plan + "--draft-model nano-dspark").out, HasSubstr("  drafter  "));
    EXPECT_THAT(run(plan).out, Not(HasSubstr("drafter")));
    expect_usage(plan + "--draft off --draft-model nano-dspark", "--draft-model");
    expect_usage("plan --like flash --draft-model nano-dspark", "--draft-model");
    expect_error(plan + "--draft mtp --draft-model nano-dspark", "has no such drafter");
}

// Beside the experts' rates, and in the user's cache folder where no file is named.
TEST_F(Commands, WhatIsLearntOfDraftsIsKept) {
    const std::string answer =
        "run -p 'Tell me a story.' -n 40 --temp 0 --draft-model nano-dspark --draft dspark ";
    const std::string heat = path("x.heat");
    ASSERT_EQ(run(answer + "--expert-cache 50% --expert-heat " + heat).status, 0);
    EXPECT_TRUE(std::filesystem::exists(heat + ".drafts"));
    EXPECT_EQ(std::filesystem::file_size(heat + ".drafts"), 424u);
    std::ofstream(heat + ".drafts") << "something else";
    const auto o = run(answer + "--expert-cache 50% --expert-heat " + heat);
    EXPECT_EQ(o.status, 0);
    EXPECT_THAT(o.err, HasSubstr("x.heat.drafts: "));
    EXPECT_EQ(std::filesystem::file_size(heat + ".drafts"), 424u);
    expect_error("run -p hi -m " + heat + ".drafts", "what drafts are worth");
    ASSERT_EQ(run(answer).status, 0);
    const std::filesystem::directory_iterator kept(path("cache/cachalot/heat"));
    EXPECT_EQ(std::count_if(begin(kept), end(kept),
                            [](const auto& entry) { return entry.path().extension() == ".drafts"; }),
              1);
}

// What the drafter says behind a position, for those who compare it with another implementation.
TEST_F(Commands, LogitsOfDrafts) {
    const std::string tokens =
        "logits --exact --kv f32 --tokens 0,671,6102,294,8760,344 --out " + path("draft.f32");
    const std::string dspark = tokens + " --draft-model nano-dspark --draft 3 --json";
    const auto base = run(dspark);
    ASSERT_EQ(base.status, 0) << base.err;
    const auto said = json::parse(base.out);
    EXPECT_EQ(said["position"], 3);
    EXPECT_EQ(said["newest"], 8760);
    EXPECT_EQ(said["tokens"].size(), 5u);
    EXPECT_EQ(said["confidences"].size(), 5u);
    const std::string before = read_text_file(path("draft.f32"));
    EXPECT_EQ(run(dspark + " --biased").out, base.out);
    const std::string after = read_text_file(path("draft.f32"));
    const auto row = after.size() / 5;
    EXPECT_EQ(before.size(), after.size());
    EXPECT_NE(before, after);
    // The drafted token is the likeliest after the bias.
    for (std::size_t i = 0; i < 5; ++i) {
        std::vector<float> logits(row / 4);
        std::memcpy(logits.data(), after.data() + i * row, row);
        EXPECT_EQ(std::ranges::max_element(logits) - logits.begin(), said["tokens"][i]);
    }
    const std::string mtp = tokens + " --draft-model " CACHALOT_TEST_DATA "/nano-mtp --draft 3";
    EXPECT_EQ(run(mtp).status, 0);
    EXPECT_EQ(std::filesystem::file_size(path("draft.f32")), 3 * row);
    expect_error(mtp + " --biased", "no bias");
    expect_error(tokens + " --draft 3", "has no drafter");
    expect_error(tokens + " --draft-model nano-dspark --draft 5", "--draft 5: ");
    expect_usage(tokens + " --biased", "--draft POSITION");
    expect_usage(dspark + " --step", "--step");
}

}  // namespace
}  // namespace cachalot
