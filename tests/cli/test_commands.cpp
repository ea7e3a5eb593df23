// The program as a user runs it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "file/safetensors.h"
#include "file/text_file.h"
#include "support/nano.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(Commands, RunAnswers) {
    auto o = run("run -p 'What is the capital of France?' --temp 0");
    EXPECT_EQ(o.status, 0);
    EXPECT_THAT(o.out, HasSubstr("Paris"));
    EXPECT_EQ(o.err, "");
    EXPECT_EQ(run("run --temp 0", "What is the capital of France?").out, o.out);
    std::ofstream(path("prompt.txt")) << "What is the capital of France?";
    EXPECT_EQ(run("run --temp 0 -f " + path("prompt.txt")).out, o.out);
}

TEST_F(Commands, RunPrintsJson) {
    auto result = json::parse(run("run -p 'What is 3 + 4?' --think on --temp 0 --json").out);
    EXPECT_NE(result["text"], "");
    EXPECT_NE(result["reasoning"], "");
    EXPECT_EQ(result["tool_calls"], json::array());
    EXPECT_EQ(result["finish_reason"], "stop");
    EXPECT_EQ(result["usage"]["prompt_tokens"], 12);
    EXPECT_GT(result["usage"]["completion_tokens"], 10);
    EXPECT_TRUE(result["timings"].is_object());
}

TEST_F(Commands, RunCallsTools) {
    std::ofstream(path("tools.json")) << R"([{"type": "function", "function": {"name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}])";
    auto o = run("run --temp 0 -p 'What is the weather in Oslo?' --tools " + path("tools.json"));
    EXPECT_EQ(o.status, 0) << o.err;
    auto call = json::parse(o.out);
    EXPECT_EQ(call["name"], "get_weather");
    EXPECT_EQ(json::parse(call["arguments"].get<std::string>())["city"], "Oslo");
    auto whole = json::parse(
        run("run --json --temp 0 -p 'What is the weather in Oslo?' --tools " + path("tools.json")).out);
    EXPECT_EQ(whole["tool_calls"][0], call);
    EXPECT_EQ(whole["finish_reason"], "tool_calls");
}

TEST_F(Commands, RunTakesSamplingOptions) {
    auto a = run("run --raw -p 'It was a dark night' -n 12 --seed 5"),
         b = run("run --raw -p 'It was a dark night' -n 12 --seed 5");
    EXPECT_EQ(a.status, 0);
    EXPECT_EQ(a.out, b.out);
    EXPECT_NE(a.out, run("run --raw -p 'It was a dark night' -n 12 --seed 6").out);
    EXPECT_NE(run("run --raw -p 'It was a dark night' -n 12 --temp 1.5 --seed -1").out,
              run("run --raw -p 'It was a dark night' -n 12 --temp 1.5 --seed -1").out);
    auto stopped = run("run -p 'What is the capital of France?' --temp 0 --stop Paris");
    EXPECT_THAT(stopped.out, testing::Not(HasSubstr("Paris")));
    EXPECT_EQ(run("run -p x --top-p 2").status, 2);
    EXPECT_EQ(run("run -p x --temp nan").status, 2);
    EXPECT_EQ(run("run -p x --bias 5").status, 2);
}

TEST_F(Commands, ChatKeepsTheConversationAndItsCommandsWork) {
    auto saved = path("talk.json");
    auto o = run("chat --temp 0",
                 "What is the capital of France?\n/stats\n/think on\n/nonsense\nWhat is 3 + 4?\n/save " +
                     saved + "\n/retry\n/system Be brief.\n/system\n/new\n/quit\n");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.out, HasSubstr("Paris"));
    EXPECT_THAT(o.out, HasSubstr("Be brief."));
    EXPECT_THAT(o.err, HasSubstr("/nonsense"));
    auto talk = json::parse(read_text_file(saved));
    ASSERT_EQ(talk.size(), 4u);
    EXPECT_EQ(talk[3]["role"], "assistant");
    EXPECT_TRUE(talk[3].contains("reasoning_content"));
    EXPECT_EQ(run("chat --temp 0 --load " + saved, "Thank you.\n").status, 0);
}

TEST_F(Commands, TokenizeAndBack) {
    EXPECT_EQ(run("tokenize -p 'Hello world'").out, "6791 1225\n");
    EXPECT_EQ(run("tokenize --decode 6791,1225").out, "Hello world\n");
    EXPECT_EQ(run("tokenize -p '<think>' --special").out, "5\n");
    EXPECT_NE(run("tokenize -p '<think>'").out, "5\n");
    EXPECT_EQ(json::parse(run("tokenize --json --count", "a b c").out),
              json({{"count", json::parse(run("tokenize --json", "a b c").out)["tokens"].size()}}));
    EXPECT_EQ(json::parse(run("tokenize --json", "a b c").out)["count"],
              json::parse(run("tokenize --json", "a b c").out)["tokens"].size());
    expect_error("tokenize --decode 99999", "99999");
}

TEST_F(Commands, LogitsAreTheEnginesLogits) {
    auto ids = test::Golden::ids("capital.ids");
    std::ofstream file(path("ids"));
    for (auto id : ids) file << id << ' ';
    file.close();
    EXPECT_EQ(run("logits --exact --kv f32 --tokens-file " + path("ids") + " --out " + path("a")).status, 0);
    EXPECT_EQ(
        run("logits --exact --kv f32 --step --tokens-file " + path("ids") + " --out " + path("b")).status, 0);
    EXPECT_EQ(
        run("logits --exact --kv f32 --chunk 3 --tokens-file " + path("ids") + " --out " + path("c")).status,
        0);
    auto a = read_text_file(path("a"));
    EXPECT_EQ(a.size(), ids.size() * 8192 * 4);
    EXPECT_EQ(a, read_text_file(path("b")));
    EXPECT_EQ(a, read_text_file(path("c")));
    std::vector<float> logits(ids.size() * 8192);
    std::memcpy(logits.data(), a.data(), a.size());
    EXPECT_LT(
        test::largest_difference(std::span(logits).last(8192), test::Golden::floats("capital.last_logits")),
        2e-3);
    expect_error("logits --tokens 5,9000 --out " + path("d"), "9000");
    EXPECT_FALSE(std::filesystem::exists(path("d")));
    expect_error("logits --tokens 5 --out /nowhere/at/all", "/nowhere/at/all");
}

TEST_F(Commands, PerplexityMatchesTheGoldenValue) {
    auto ids = test::Golden::ids("val.ids");
    std::ofstream file(path("ids"));
    for (int i = 0; i < 2048; ++i) file << ids[i] << '\n';
    file.close();
    auto result = json::parse(run("perplexity --json --ctx 2048 --tokens-file " + path("ids")).out);
    EXPECT_NEAR(result["nll"].get<double>(), test::Golden::floats("val.nll_2048")[0], 0.02);
    EXPECT_EQ(result["tokens"], 2047);
    expect_error("perplexity -p a", "at least 2");
}

TEST_F(Commands, InspectAndConvert) {
    auto o = run("inspect");
    EXPECT_THAT(o.out, HasSubstr("8: 2 window, 3 CSA, 3 HCA"));
    auto all = json::parse(run("inspect --json").out);
    EXPECT_EQ(all["config"]["experts"], 32);
    EXPECT_EQ(all["tensors"].size(), 240u);
    std::filesystem::create_directory(path("release"));
    test::TinyRelease make(path("release"));
    EXPECT_THAT(run("inspect " + path("release")).out, HasSubstr("F8_E4M3"));
    EXPECT_EQ(run("convert " + path("release") + " " + path("tiny.gguf")).status, 0);
    EXPECT_THAT(run("inspect --metadata --tensors " + path("tiny.gguf")).out,
                HasSubstr("blk.3.ffn_down_exps.weight"));
    expect_error("convert " + path("release") + " " + path("tiny.gguf"), "--force");
    EXPECT_EQ(run("convert --dense q8_0 " + path("tiny.gguf") + " " + path("small.gguf")).status, 0);
    EXPECT_THAT(run("inspect " + path("small.gguf")).out, HasSubstr("Q8_0"));
    expect_usage("convert --experts q9 " + path("release") + " " + path("x.gguf"), "q9");
    expect_usage("convert --type q8_0 " + path("release") + " " + path("x.gguf"), "REGEX=TYPE");
    EXPECT_EQ(run("convert --recipe q9 " + path("release") + " " + path("x.gguf")).status, 2);
    expect_error("convert --to release " + path("tiny.gguf") + " " + path("back"), "cannot become one again");
    EXPECT_EQ(run("convert --dense F8_E4M3 --type 'blk.*ffn_gate_inp.*=F32' " + path("release") + " " +
                  path("kept.gguf"))
                  .status,
              0);
    EXPECT_THAT(run("inspect " + path("kept.gguf")).out, HasSubstr("F8_E4M3"));
    expect_error("convert --to release " + path("kept.gguf") + " " + path("back"), "cannot become one again");
    EXPECT_EQ(run("convert --dense f8_e4m3 --force " + path("release") + " " + path("kept.gguf")).status, 0);
    EXPECT_THAT(run("convert --to release " + path("kept.gguf") + " " + path("back")).out,
                HasSubstr("1 of the release are not in"));
    EXPECT_EQ(run("run --raw -p hello -n 2 --temp 0 -m " + path("back")).out,
              run("run --raw -p hello -n 2 --temp 0 -m " + path("release")).out);
}

TEST_F(Commands, SynthWritesAModelThatRuns) {
    auto file = path("s.gguf");
    auto o =
        run("synth " + file + " --like tiny --kinds csa,window,hca --experts 8 --gate-up mxfp4 --down q8_0");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.out, HasSubstr("seed 1"));
    auto all = json::parse(run("inspect --json " + file).out);
    EXPECT_EQ(all["config"]["layer_kinds"], json({"csa", "window", "hca"}));
    EXPECT_EQ(all["config"]["experts"], 8);
    EXPECT_EQ(run("run --raw -p hello -n 3 -m " + file).status, 0);
    expect_error("synth " + file + " --like tiny", "--force");
    expect_usage("synth --force " + file + " --kinds csa,ring", "ring");
    expect_usage("synth --force " + file + " --kinds csa,hca --layers 3", "--layers 3");
    expect_usage("synth --force " + file + " --like tiny --experts-type q9", "q9");
    EXPECT_EQ(run("synth " + file + " --like mega").status, 2);
    EXPECT_EQ(run("synth --release " + path("folder") + " --like tiny --layers 2 --experts 4").status, 0);
    EXPECT_EQ(run("run --raw -p hello -n 2 -m " + path("folder")).status, 0);
}

TEST_F(Commands, SynthWritesEveryKindOfLayer) {
    const auto file = path("s.gguf");
    for (const auto& [like, layers] : {std::pair{"tiny", 4}, {"v41-tiny", 8}}) {
        ASSERT_EQ(run(fmt::format("synth --force {} --like {} --layers kinds", file, like)).status, 0);
        EXPECT_EQ(json::parse(run("inspect --json " + file).out)["config"]["layers"], layers);
        EXPECT_EQ(run("run --raw -p hello -n 2 -m " + file).status, 0);
    }
    for (const char* layers : {"0", "1025", "all", "3x", "-1"})
        expect_usage(fmt::format("synth --force {} --like tiny --layers={}", file, layers), layers);
}

TEST_F(Commands, SynthLeavesHolesForFullTables) {
    const auto file = path("s.gguf");
    const auto o = run("synth " + file + " --like v41-tiny --engram full");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.out, HasSubstr("holes that read as zeros"));
    EXPECT_EQ(run("run --raw -p hello -n 2 -m " + file).status, 0);
}

TEST_F(Commands, SynthWritesTablesOfAnySize) {
    const auto file = path("s.gguf");
    const auto size = [&](const std::string& engram) {
        const auto o = run("synth --force " + file + " --like v41-tiny --engram " + engram);
        EXPECT_EQ(o.status, 0) << o.err;
        EXPECT_THAT(o.out, Not(HasSubstr("holes")));
        return static_cast<double>(std::filesystem::file_size(file));
    };
    EXPECT_NEAR(size("900KB") - size("300KB"), 600e3, 20e3);
    EXPECT_EQ(run("run --raw -p hello -n 2 -m " + file).status, 0);
    expect_error("synth --force " + file + " --like v41-tiny --engram 10", "--engram 10");
    expect_usage("synth --force " + file + " --like v41-tiny --engram large", "large");
}

TEST_F(Commands, BenchPrintsItsRows) {
    auto result = json::parse(run("bench -p 16 -n 4 -d 0,20 -r 1 --json").out);
    ASSERT_EQ(result["rows"].size(), 4u);
    EXPECT_EQ(result["rows"][3]["test"], "decode");
    EXPECT_EQ(result["rows"][3]["depth"], 20);
    std::vector<std::string> keys;
    for (const auto& [key, value] : result["rows"][0].items()) keys.push_back(key);
    EXPECT_THAT(keys, testing::UnorderedElementsAre("test", "tokens", "depth", "parallel", "threads",
                                                    "tokens_per_second", "share_of_limit", "peak_rss_bytes",
                                                    "repetitions", "spread", "each"));
    EXPECT_EQ(result["rows"][0]["each"].size(), 1u);
    EXPECT_TRUE(result["machine"].is_object());
    for (const auto& row : result["rows"]) {
        EXPECT_GT(row["tokens_per_second"], 0);
        EXPECT_GT(row["share_of_limit"], 0);
        EXPECT_GT(row["peak_rss_bytes"], 1 << 20);
    }
    auto text = run("bench -p 16 -n 4 -r 1 --parallel 1,3").out;
    for (auto part : {"tokens/s", "per token", "MB", "Mop", "%"}) EXPECT_THAT(text, HasSubstr(part));
}

TEST_F(Commands, ProfilesSayWhereTheTimeGoes) {
    auto o = run("run -p Hello -n 2 --profile " + path("profile.json"));
    EXPECT_EQ(o.status, 0);
    EXPECT_THAT(o.err, HasSubstr("attend/attend"));
    auto profile = json::parse(read_text_file(path("profile.json")));
    EXPECT_GT(profile["traceEvents"].size(), 100u);
    expect_error("run -p Hello -n 2 --profile /no/such/folder/x.json", "/no/such/folder/x.json");
}

TEST_F(Commands, PlanShowsWhatFits) {
    const auto here = json::parse(run("plan --json --disk-speed 1GB").out);
    EXPECT_EQ(here["resident"], true);
    EXPECT_EQ(here["speed"]["disk_bytes_per_second"], 1e9);
    EXPECT_GE(here["speed"]["tokens_per_second"]["high"], here["speed"]["tokens_per_second"]["low"]);
    EXPECT_LE(here["memory"]["available"].get<double>(), here["memory"]["total"].get<double>());
    double enough = 1;
    for (const auto& [name, bytes] : here["bytes"].items())
        if (name != "spare") enough += bytes.get<double>();
    const auto little = static_cast<std::int64_t>(enough - here["bytes"]["routed_experts"].get<double>() / 2);
    const auto small =
        json::parse(run(fmt::format("plan --json --no-estimate --chunk 512 --memory {}", little)).out);
    EXPECT_EQ(small["resident"], false);
    EXPECT_EQ(small["missing_bytes"], 0);
    double sum = small["expert_cache"]["bytes"];
    for (const auto& [name, bytes] : small["bytes"].items())
        if (name != "routed_experts") sum += bytes.get<double>();
    EXPECT_LE(sum, static_cast<double>(little));
    EXPECT_GT(sum, static_cast<double>(little) - 1e6);
    EXPECT_THAT(run(fmt::format("plan --chunk 512 --memory {}", little)).out,
                AllOf(HasSubstr("of 256 routed experts"), HasSubstr("% hits"), HasSubstr("tokens/s")));
    EXPECT_TRUE(small["speed"].is_null());
    EXPECT_THAT(run("plan --no-estimate").out, HasSubstr("Everything fits"));
    expect_error("plan --disk-speed much", "--disk-speed");
    expect_error("plan --memory much", "--memory");
    EXPECT_THAT(run("run --temp 0 -p hi -n 1").err, Not(HasSubstr("do not fit")));
}

TEST_F(Commands, PlanForAModelThatIsNotThere) {
    const std::string v41 = "plan --json --like v41-flash --memory 128GB -c 32k ";
    const auto o = run(v41);
    ASSERT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.err, HasSubstr("--disk-speed"));
    const auto released = json::parse(o.out);
    EXPECT_TRUE(released["speed"].is_null());
    EXPECT_EQ(released["model"], "v41-flash, as released");
    EXPECT_EQ(released["resident"], false);
    EXPECT_NEAR(released["bytes"]["engram_tables_on_disk"].get<double>(), 202.8e9, 0.1e9);
    EXPECT_NEAR(released["bytes"]["engram_cache"].get<double>(), 2.028e9, 1e6);
    EXPECT_EQ(released["expert_cache"]["experts"], 15360);
    const auto small = json::parse(run(v41 + "--recipe q2 --disk-speed 7GB").out);
    EXPECT_LT(small["bytes"]["routed_experts"], released["bytes"]["routed_experts"].get<double>() * 0.6);
    EXPECT_GT(small["expert_cache"]["slots"], released["expert_cache"]["slots"].get<int>());
    EXPECT_GT(small["speed"]["tokens_per_second"]["low"].get<double>(), 0);
    const auto nano = json::parse(run("plan --json --no-estimate --recipe q4").out);
    EXPECT_LT(nano["bytes"]["routed_experts"].get<double>(), 1e8);
    expect_usage("plan --like v41-flash -m nano.gguf", "--like");
    expect_usage("plan --like v5", "v5");
    expect_usage("plan --recipe q9", "q9");
}

TEST_F(Commands, ExpertsAreKeptInACacheOfAnySize) {
    const std::string question = "-p 'The capital of France?' --temp 0 -n 3";
    const auto whole = json::parse(run("run --json " + question).out);
    EXPECT_FALSE(whole["timings"].contains("expert_cache"));
    auto o = run("run --json --expert-cache 25% --route-trace " + path("t.route") + " " + question);
    EXPECT_EQ(o.err, "");
    const auto cached = json::parse(o.out);
    EXPECT_EQ(cached["text"], whole["text"]);
    const auto& cache = cached["timings"]["expert_cache"];
    EXPECT_EQ(cache["slots"], 60);
    EXPECT_EQ(cache["ahead"], 4);
    EXPECT_EQ(cache["warming"], 0);
    EXPECT_EQ(cache["experts"], 256);
    EXPECT_GT(cache["decode"]["bytes_read_per_token"], 0);
    // The simulator counts the same.
    const auto replay = json::parse(run("cache-sim --json -p forecast -b 23.4375% " + path("t.route")).out);
    const auto& forecast = replay["traces"][0]["budgets"][0]["policies"][0];
    EXPECT_EQ(replay["traces"][0]["budgets"][0]["slots"], 60);
    EXPECT_EQ(forecast["lookups"], cache["decode"]["lookups"]);
    EXPECT_EQ(forecast["hits"], cache["decode"]["hits"]);

    // What was used is remembered for each model, and the next start reads it.
    const auto files = std::filesystem::directory_iterator(path("cache") + "/cachalot/heat");
    ASSERT_EQ(std::distance(files, {}), 1);
    const std::string heat = std::filesystem::directory_iterator(path("cache") + "/cachalot/heat")->path();
    const auto warm = json::parse(run("run --json --expert-cache 25% " + question).out);
    auto there = [](const json& t) { return t["hits"].get<int>() + t["ahead"].get<int>(); };
    EXPECT_GT(there(warm["timings"]["expert_cache"]["prompt"]), there(cache["prompt"]));
    std::ofstream(heat) << "nonsense";
    o = run("run --expert-cache 25% --json " + question);
    EXPECT_THAT(o.err, AllOf(HasSubstr("starts cold"), HasSubstr(heat)));
    EXPECT_EQ(json::parse(o.out)["text"], whole["text"]);
    EXPECT_EQ(run("run --expert-cache 25% " + question).err, "");
    std::ofstream(path("my.heat")) << "nonsense";
    expect_error("run --expert-cache 25% --expert-heat " + path("my.heat") + " " + question, "my.heat");
    EXPECT_EQ(run("run --expert-cache 25% --expert-heat off " + question).err, "");

    // A pack beside the model is found; others are named.
    std::filesystem::copy_file(test::kNanoPath, path("m.gguf"));
    const std::string packed = "run --expert-cache 25% --json -m " + path("m.gguf") + " " + question;
    EXPECT_THAT(run("convert --pack " + path("m.gguf")).out,
                AllOf(HasSubstr(path("m.experts.pack")), HasSubstr("256 experts")));
    expect_error("convert --pack " + path("m.gguf"), "--force");
    const auto from_pack = json::parse(run(packed).out);
    EXPECT_EQ(from_pack["text"], whole["text"]);
    EXPECT_EQ(from_pack["timings"]["expert_cache"]["packs"], 1);
    std::filesystem::rename(path("m.experts.pack"), path("elsewhere"));
    EXPECT_EQ(json::parse(run(packed).out)["timings"]["expert_cache"]["packs"], 0);
    const std::string twice = " --expert-pack " + path("elsewhere") + " --expert-pack " + path("elsewhere");
    EXPECT_EQ(json::parse(run(packed + twice).out)["timings"]["expert_cache"]["packs"], 2);
    std::ofstream(path("m.experts.pack")) << "nonsense";
    EXPECT_THAT(run(packed).err, HasSubstr("not a pack"));
    expect_error(packed + " --expert-pack " + path("m.experts.pack"), "not a pack");
    expect_usage("convert " + path("m.gguf"), "OUTPUT");

    EXPECT_THAT(run("run --raw -p Hi -n 1 --stats --expert-cache 3MB").err,
                AllOf(HasSubstr("one token uses"), HasSubstr("% hits")));
    EXPECT_THAT(run("chat --temp 0 -n 2 --expert-cache 50%", "Hi\n/stats\n").out, HasSubstr("% hits"));
    for (const char* n : {"0", "1", "3"})
        for (const char* raw : {"", " --raw"})
            EXPECT_THAT(run(fmt::format("run --temp 0 --ignore-eos -p Hi -n {}{} --stats", n, raw)).err,
                        HasSubstr(fmt::format("answer {} tokens", n)));
    auto bench = json::parse(run("bench -p 4 -n 1 -r 1 --expert-cache 50% --json").out);
    for (const auto& row : bench["rows"]) EXPECT_GT(row["expert_cache"]["lookups"], 0);
    const std::string tokens = "logits --tokens 0,5,7 --out ";
    EXPECT_EQ(run(tokens + path("a")).status, 0);
    EXPECT_EQ(run(tokens + path("b") + " --expert-cache 30%").status, 0);
    EXPECT_EQ(read_text_file(path("a")), read_text_file(path("b")));
    expect_usage("run -p hi --expert-cache lots", "--expert-cache");
    expect_error("run -p hi --expert-cache 1kB", "not a single expert");
    expect_error("run -p hi --route-trace /no/such/folder/x", "/no/such/folder/x");
}

TEST_F(Commands, WrongUsageIsStatus2AndBadInputStatus1) {
    EXPECT_EQ(run("").status, 2);
    EXPECT_EQ(run("fly").status, 2);
    EXPECT_EQ(run("run --nonsense").status, 2);
    EXPECT_EQ(run("--help").status, 0);
    EXPECT_EQ(run("run --help").status, 0);
    EXPECT_THAT(run("--version").out, StartsWith("cachalot "));
    expect_error("run -p hi -m /nowhere/x.gguf", "/nowhere/x.gguf");
    std::ofstream(path("junk.gguf")) << "GGUFjunk";
    expect_error("run -p hi -m " + path("junk.gguf"), "junk.gguf");
    std::ofstream(path("empty.gguf")) << "";
    expect_error("inspect " + path("empty.gguf"), "empty.gguf");
    expect_error("run -p hi -c 999999999", "context");
    expect_error("run -p hi -c 4", "the context holds 4");
    expect_error("run --messages " + path("junk.gguf"), "junk.gguf");
    std::ofstream(path("roles.json")) << R"([{"role": "king", "content": "x"}])";
    expect_error("run --messages " + path("roles.json"), "messages[0].role");
}

TEST_F(Commands, CacheSimReplaysTraces) {
    const std::string routes = std::string(CACHALOT_TEST_DATA) + "/routes/";
    const std::string arguments =
        "cache-sim " + routes + "gptoss.route " + routes + "gptoss-cut.csv -b 10%,20% -p lru,forecast,belady";
    auto result = json::parse(run(arguments + " --json --plot " + path("hits.svg")).out);
    ASSERT_EQ(result["traces"].size(), 2u);
    const auto& budget = result["traces"][0]["budgets"][0];
    EXPECT_EQ(budget["slots"], 461);
    EXPECT_EQ(budget["floor"], "none");
    const auto &lru = budget["policies"][0], &forecast = budget["policies"][1],
               &belady = budget["policies"][2];
    EXPECT_NEAR(lru["hit_rate"].get<double>(), 0.602, 0.003);
    EXPECT_EQ(lru["gap_closed"], 0);
    EXPECT_GT(forecast["gap_closed"], 0.1);
    EXPECT_EQ(belady["gap_closed"], 1);
    EXPECT_EQ(lru["hits"].get<int>() + lru["misses"].get<int>(), lru["lookups"]);
    EXPECT_LT(forecast["bytes_per_token"]["mean"], lru["bytes_per_token"]["mean"]);
    EXPECT_EQ(result["mean"].size(), 6u);
    auto svg = read_text_file(path("hits.svg"));
    EXPECT_THAT(svg, StartsWith("<svg "));
    EXPECT_THAT(svg, HasSubstr("gpt-oss-120b"));
    EXPECT_EQ(svg.find("\"nan"), std::string::npos);
    auto table = run(arguments).out;
    EXPECT_THAT(table, HasSubstr("mean of the 2 traces"));
    EXPECT_EQ(run(arguments).out, table);
    EXPECT_THAT(run("cache-sim -b 0.5% " + routes + "gptoss.route").out,
                HasSubstr("below the floor of one token"));
    auto joined = run("cache-sim --join -b 8GB -p redis --lfu-log-factor 1 " + routes + "gptoss.route " +
                      routes + "gptoss-cut.csv");
    EXPECT_THAT(joined.out, HasSubstr("topic"));
    expect_error("cache-sim", "no trace");
    expect_error("cache-sim " + path("none"), path("none"));
    expect_error("cache-sim -p clock --synthetic", "clock");
    expect_error("cache-sim -b 10 --synthetic", "--budget 10");
    expect_error("cache-sim -b 10x --synthetic", "10x");
    expect_error("cache-sim -b 101% --synthetic", "101%");
    expect_error("cache-sim --disk-bandwidth fast --synthetic", "fast");
}

}  // namespace
}  // namespace cachalot
