// The commands that measure a model, as a user runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/nano.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class Measuring : public Commands {
  protected:
    // Some held-out text as a file of tokens.
    std::string tokens(std::size_t count) {
        auto ids = test::Golden::ids("val.ids");
        std::ofstream file(path("ids"));
        for (std::size_t i = 0; i < count; ++i) file << ids[i] << ' ';
        return path("ids");
    }
};

TEST_F(Measuring, AModelDoesNotDivergeFromItself) {
    const auto ids = tokens(130);
    auto perplexity = json::parse(
        run("perplexity --json --ctx 65 --tokens-file " + ids + " --save-logits " + path("saved")).out);
    EXPECT_EQ(perplexity["tokens"], 128);
    EXPECT_EQ(perplexity["nll_by_window"].size(), 2u);
    auto o = run("compare --json --baseline " + path("saved") + " '" + test::kNanoPath + "' --plot " +
                 path("p.svg"));
    ASSERT_EQ(o.status, 0) << o.err;
    auto result = json::parse(o.out);
    EXPECT_EQ(result["tokens"], 128);
    EXPECT_EQ(result["window"], 65);
    EXPECT_NEAR(result["kl"]["value"], 0, 1e-5);
    EXPECT_NEAR(result["kl"]["max"], 0, 1e-4);
    EXPECT_EQ(result["same_top"]["value"], 1.0);
    for (const char* model : {"nll_a", "nll_b"})
        EXPECT_NEAR(result[model]["value"], double(perplexity["nll"]), 1e-6);
    auto svg = read_text_file(path("p.svg"));
    EXPECT_THAT(svg, AllOf(StartsWith("<svg "), HasSubstr("KL by position"), HasSubstr("</svg>")));
    EXPECT_EQ(svg.find("\"nan"), std::string::npos);
}

TEST_F(Measuring, CompareSeesWhatRoundingCosts) {
    ASSERT_EQ(
        run("convert '" + test::kNanoPath + "' " + path("q8.gguf") + " --dense q8_0 --experts q8_0").status,
        0);
    auto o = run("compare '" + test::kNanoPath + "' " + path("q8.gguf") + " --ctx 128 --tokens-file " +
                 tokens(128));
    ASSERT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.out, AllOf(HasSubstr("127 tokens in windows of 128"), HasSubstr("64 to 127")));
    auto result = json::parse(run("compare --json '" + test::kNanoPath + "' " + path("q8.gguf") +
                                  " --exact --ctx 128 --tokens-file " + tokens(128))
                                  .out);
    EXPECT_GT(result["kl"]["value"], 1e-6);
    EXPECT_LT(result["kl"]["value"], 0.01);
    EXPECT_GT(result["same_top"]["value"], 0.9);
}

TEST_F(Measuring, CompareSaysWhatIsWrong) {
    const std::string nano = "'" + test::kNanoPath + "' ";
    expect_usage("compare " + nano + "-p text", "name two models");
    std::ofstream(path("saved")) << "CLOGPROB and nothing else";
    expect_error("compare --baseline " + path("saved") + " " + nano, "saved");
    ASSERT_EQ(run("perplexity -p 'a short text' --save-logits " + path("saved")).status, 0);
    expect_usage("compare --baseline " + path("saved") + " -p text " + nano, "contains its text");
    expect_error("compare --baseline " + path("saved") + " --ctx 77 " + nano, "--ctx");
}

TEST_F(Measuring, EvalIsRepeatableAndGoesOn) {
    const std::string command = "eval --json --family json,tools --items 1 -n 32 ";
    auto first = run(command + "--state " + path("state"));
    ASSERT_EQ(first.status, 0) << first.err;
    const auto result = json::parse(first.out);
    ASSERT_EQ(result["families"].size(), 2u);
    EXPECT_EQ(result["families"][0]["family"], "json");
    EXPECT_EQ(result["families"][0]["outcomes"][0]["id"], "json-0");
    EXPECT_GT(result["score"]["value"], 0);
    EXPECT_EQ(json::parse(run(command).out), result);
    // From the state, with one line less.
    auto state = read_text_file(path("state"));
    std::ofstream(path("state")) << state.substr(0, state.size() - 3);
    EXPECT_EQ(json::parse(run(command + "--state " + path("state")).out), result);
    EXPECT_EQ(read_text_file(path("state")), state);
    auto against = json::parse(run(command + "--against " + path("state")).out);
    EXPECT_EQ(against["against"]["before"], against["against"]["now"]);
    expect_error("eval --family json --items 1 --seed 2 --state " + path("state"), "another run");
    expect_error("eval --family json --items 1 --seed 2 --against " + path("state"), "json-0");
    EXPECT_EQ(run("eval --family json --items 1 --require 100.5").status, 2);
    // The items need no model.
    auto listed = run("eval -m /nowhere --list --items 3");
    EXPECT_EQ(std::count(listed.out.begin(), listed.out.end(), '\n'), 15);
    EXPECT_EQ(json::parse(listed.out.substr(0, listed.out.find('\n')))["id"], "arithmetic-0");
}

TEST_F(Measuring, OfficialAnswersNeedTheOfficialVocabulary) {
    std::ofstream(path("a.official.json"))
        << R"({"schema": "ds4-official-logprobs-v1", "id": "short", "model": "deepseek-v4-flash", "prompt": "Say it.",
               "usage": {"prompt_tokens": 6}, "steps": [{"token": {"text": "Hm", "bytes": [201, 202]}, "logprob": 0,
               "top_logprobs": []}]})";
    expect_error("score-official " + folder.path().string(), "vocabulary");
    expect_error("score-official " + path("nothing"), "no folder");
    std::ofstream(path("a.official.json"))
        << R"({"schema": "ds4-official-logprobs-v1", "id": "short", "model": "nano", "prompt": "What is the capital of France?",
               "usage": {"prompt_tokens": 11}, "steps": [{"token": {"text": "zz", "bytes": [122]}, "logprob": 0,
               "top_logprobs": []}]})";
    auto o = run("score-official --json " + folder.path().string());
    EXPECT_EQ(o.status, 0) << o.err;
    auto result = json::parse(o.out);
    EXPECT_EQ(result["steps"], 1);
    EXPECT_EQ(result["agreed"], 0);
    EXPECT_EQ(result["prompts"][0]["prompt_tokens"], 11);
    EXPECT_EQ(run("score-official --require 50 " + folder.path().string()).status, 1);
}

TEST_F(Measuring, ImatrixGoesOnAndMerges) {
    std::ofstream(path("text"))
        << "It was a dark night. The old man walked along the road, and nobody saw him go. ";
    const std::string command = "imatrix --ctx 16 -f " + path("text") + " -o " + path("i.gguf");
    auto o = run(command);
    ASSERT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.out, HasSubstr("blk.7.ffn_down_exps.weight"));
    EXPECT_THAT(o.err, HasSubstr("never chosen"));
    EXPECT_THAT(run(command).err, HasSubstr("holds 2 of 2 windows"));
    expect_error("imatrix --ctx 17 -f " + path("text") + " -o " + path("i.gguf"), "--force");

    auto once = json::parse(run("imatrix --json --merge " + path("i.gguf")).out);
    auto twice = json::parse(run("imatrix --json --merge " + path("i.gguf") + " --merge " + path("i.gguf") +
                                 " -o " + path("twice.gguf"))
                                 .out);
    EXPECT_EQ(once["chunks"], 2);
    EXPECT_EQ(twice["chunks"], 4);
    EXPECT_EQ(once["experts_never_seen"], twice["experts_never_seen"]);
    EXPECT_EQ(2 * int(once["layers"][3]["most"]), twice["layers"][3]["most"]);
    EXPECT_EQ(once["layers"].size(), 8u);
    // Streamed, the same counts.
    auto streamed = json::parse(
        run("imatrix --json --expert-cache 20% --ctx 16 -f " + path("text") + " -o " + path("s.gguf")).out);
    EXPECT_EQ(streamed["layers"], once["layers"]);
    expect_error("imatrix --merge '" + test::kNanoPath + "'", "not an importance matrix");
    expect_usage("imatrix -f " + path("text"), "-o");
}

TEST_F(Measuring, AWindowOfOneTokenIsRefused) {
    std::ofstream(path("text")) << "It was a dark night.";
    for (const std::string& command : {std::string("perplexity"), "imatrix -o " + path("i.gguf")})
        expect_error(command + " --ctx 1 -f " + path("text"), "--ctx: a window of 1 predicts nothing");
}

}  // namespace
}  // namespace cachalot
