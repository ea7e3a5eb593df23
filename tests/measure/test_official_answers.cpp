#include "measure/official_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "file/support.h"
#include "support/nano.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json token(const std::string& text, double logprob) {
    json bytes = json::array();
    for (char c : text) bytes.push_back(static_cast<unsigned char>(c));
    return {{"token", {{"text", text}, {"bytes", bytes}}}, {"logprob", logprob}};
}

// What nano itself answers to the golden prompt, in the form of the official files.
json nanos_answer() {
    const auto& tokenizer = test::nano()->tokenizer;
    json steps = json::array();
    for (auto id : test::Golden::ids("capital.greedy")) {
        const auto text = id == tokenizer.eos() ? "<｜｜end▁of▁sentence｜｜>" : tokenizer.bytes(id);
        auto step = token(text, 0);
        step["top_logprobs"] = {token(text, 0), token("zzzz", -9999)};
        steps.push_back(step);
    }
    return {{"schema", "ds4-official-logprobs-v1"},
            {"id", "capital"},
            {"model", "nano"},
            {"prompt", "What is the capital of France?"},
            {"usage", {{"prompt_tokens", 11}}},
            {"steps", steps}};
}

OfficialScore score(const json& answer) {
    auto engine = test::exact_engine();
    return score_official(engine, parse_official(answer.dump(), "a.official.json"));
}

TEST(OfficialAnswers, AModelAgreesWithItself) {
    const auto answer = nanos_answer();
    const auto s = score(answer);
    EXPECT_EQ(s.prompt_tokens, 11);
    EXPECT_EQ(s.official_prompt_tokens, 11);
    EXPECT_EQ(s.agreed(), std::ssize(s.steps));
    EXPECT_EQ(s.steps.size(), answer["steps"].size());
    for (const auto& step : s.steps) {
        EXPECT_EQ(step.best, step.text == "<｜｜end▁of▁sentence｜｜>" ? "<｜end▁of▁sentence｜>" : step.text);
        EXPECT_EQ(step.compared, 0);  // the API gave no figures
        EXPECT_LT(step.logprob, 0);
        EXPECT_GT(step.logprob, -1);
    }
}

TEST(OfficialAnswers, OneDeviationIsOne) {
    auto answer = nanos_answer();
    // " Paris" becomes " London": the steps before and after are judged as before.
    std::size_t at = 0;
    while (answer["steps"][at]["token"]["text"] != " Paris") ++at;
    const auto top = answer["steps"][at]["top_logprobs"];
    answer["steps"][at] = token(" London", 0);
    answer["steps"][at]["top_logprobs"] = top;
    const auto s = score(answer);
    EXPECT_GT(s.steps[at].rank, 0);
    EXPECT_EQ(s.steps[at].best, " Paris");
    for (std::size_t i = 0; i < at; ++i) EXPECT_EQ(s.steps[i].rank, 0);
    EXPECT_LT(s.agreed(), std::ssize(s.steps));
}

TEST(OfficialAnswers, FiguresAreComparedWhereThereAreSome) {
    auto answer = nanos_answer();
    const auto own = score(answer).steps[1].logprob;
    answer["steps"][1]["top_logprobs"] = {answer["steps"][1], token(" of", -30)};
    answer["steps"][1]["top_logprobs"][0]["logprob"] = own - 0.25;
    answer["steps"][1]["top_logprobs"][1]["logprob"] = -9999;
    const auto s = score(answer);
    EXPECT_EQ(s.steps[0].compared, 0);
    EXPECT_EQ(s.steps[1].compared, 1);
    EXPECT_NEAR(s.steps[1].difference, 0.25, 1e-9);
}

TEST(OfficialAnswers, SayWhatIsWrong) {
    auto wrong = [](const std::function<void(json&)>& change) {
        auto answer = nanos_answer();
        change(answer);
        return error_of([&] { score(answer); });
    };
    EXPECT_THAT(wrong([](json& a) { a["schema"] = "v2"; }), HasSubstr("schema is 'v2'"));
    EXPECT_THAT(wrong([](json& a) { a.erase("prompt"); }), HasSubstr("prompt is missing"));
    EXPECT_THAT(wrong([](json& a) { a["usage"] = 3; }), HasSubstr("usage is missing or no object"));
    EXPECT_THAT(wrong([](json& a) { a["usage"]["prompt_tokens"] = -3; }), HasSubstr("prompt_tokens"));
    EXPECT_THAT(wrong([](json& a) { a["steps"] = json::array(); }), HasSubstr("steps is empty"));
    EXPECT_THAT(wrong([](json& a) { a["steps"][0] = 1; }), HasSubstr("token is missing"));
    EXPECT_THAT(wrong([](json& a) { a["steps"][0]["token"]["bytes"][0] = 256; }), HasSubstr("no byte"));
    EXPECT_THAT(wrong([](json& a) { a["steps"][0]["logprob"] = "x"; }), HasSubstr("logprob"));
    EXPECT_THAT(
        wrong([](json& a) {
            a["steps"][0] = token("Rispondi", 0);
            a["steps"][0]["top_logprobs"] = json::array();
        }),
        testing::AllOf(HasSubstr("nano.gguf"), HasSubstr("'Rispondi'"), HasSubstr("vocabulary of 8192")));
    const TempDir dir;
    EXPECT_THAT(error_of([&] { read_official(dir / "nothing"); }), HasSubstr("no folder"));
    EXPECT_THAT(error_of([&] { read_official(dir.path()); }), HasSubstr("holds no"));
    write_file(dir / "b.official.json", nanos_answer().dump());
    EXPECT_EQ(read_official(dir.path()).size(), 1u);
}

}  // namespace
}  // namespace cachalot
