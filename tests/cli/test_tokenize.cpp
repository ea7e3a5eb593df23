// cachalot tokenize: texts and conversations to tokens, and the way back.
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "text/encoding_cases.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

class Tokenize : public Commands {
  protected:
    // `-m` with nano's tokenizer as V4.1 has it.
    std::string v41() {
        const std::string file = path("v41.json");
        if (std::ifstream(file)) return "tokenize -m " + file;
        auto json = ordered_json::parse(test::tokenizer_file("nano.json"));
        auto& model = json["model"];
        const auto last = model["vocab"].size() - 1;
        for (const char* gone : {"ibly", "Ġwishing"}) model["vocab"].erase(gone);
        model["merges"].erase(model["merges"].size() - 1);
        model["merges"].erase(model["merges"].size() - 1);
        for (const auto& [id, text] : {std::pair(last - 1, "<｜System｜>"), {last, "<｜deepseek_image｜>"}}) {
            model["vocab"][text] = id;
            json["added_tokens"].push_back({{"id", id},
                                            {"content", text},
                                            {"single_word", false},
                                            {"lstrip", false},
                                            {"rstrip", false},
                                            {"normalized", false},
                                            {"special", true}});
        }
        std::ofstream(file) << json.dump();
        return "tokenize -m " + file;
    }
    std::string file(const ordered_json& content, const std::string& name = "talk.json") {
        std::ofstream(path(name)) << content.dump();
        return path(name);
    }
};

TEST_F(Tokenize, ConversationsOfTheEncodersForm) {
    int checked = 0;
    for (const auto& one : test::encoding_cases("late-system")) {
        const auto o = run(v41() + " --text --conversation " + file(one["input"]));
        EXPECT_EQ(o.status, 0) << o.err;
        EXPECT_EQ(o.out, one["expected"].get<std::string>()) << one["name"];
        EXPECT_EQ(run(v41() + " --text --conversation " + file(one)).out, o.out);  // the whole case
        checked++;
    }
    EXPECT_GT(checked, 4);
    for (const char* name : {"no-bos", "context-only", "think-effort-37", "think-max"})
        for (const auto& one : test::encoding_cases(name))
            EXPECT_EQ(run(v41() + " --text --conversation " + file(one["input"])).out,
                      one["expected"].get<std::string>());
}

TEST_F(Tokenize, EffortsThatTheEncoderRefuses) {
    for (const auto& one : test::encoding_cases("error-effort"))
        expect_error(v41() + " --conversation " + file(one["input"]), "talk.json: reasoning_effort: ");
}

TEST_F(Tokenize, ConversationsAsApisSendThem) {
    const std::string end = "<｜User｜>Q<｜Assistant｜></think>";
    const ordered_json system = {{"role", "system"}, {"content", "S"}},
                       user = {{"role", "user"}, {"content", "Q"}};
    const std::string bos = "<｜begin▁of▁sentence｜>";
    const auto chat = file({{"messages", {system, user}}, {"reasoning_effort", 42}, {"temperature", 0}});
    EXPECT_THAT(run(v41() + " --text --conversation " + chat).out,
                testing::StartsWith(bos + "<｜System｜>Reasoning Effort: 42 ("));
    EXPECT_EQ(run(v41() + " --api messages --text --conversation " +
                  file({{"system", "S"}, {"messages", {user}}, {"max_tokens", 5}}))
                  .out,
              bos + "<｜System｜>S" + end);
    EXPECT_EQ(run(v41() + " --api responses --text --conversation " +
                  file({{"instructions", "S"}, {"input", "Q"}, {"reasoning", {{"effort", "none"}}}}))
                  .out,
              bos + "<｜System｜>S" + end);
    // A list of messages is one; V4 has its own form.
    EXPECT_THAT(run(v41() + " --text --conversation " + file(ordered_json::array({user}))).out,
                testing::StartsWith(bos + "<｜System｜>Reasoning Effort: 75"));
    EXPECT_EQ(run("tokenize --text --conversation " + file(ordered_json::array({user}))).out,
              bos + "<｜User｜>Q<｜Assistant｜><think>");
}

TEST_F(Tokenize, IdsOfAConversation) {
    const auto talk =
        file({{"messages", {{{"role", "user"}, {"content", "<think>"}}}}, {"thinking_mode", "chat"}});
    const auto ids = run(v41() + " --conversation " + talk).out;
    const auto json = ordered_json::parse(run(v41() + " --json --pieces --conversation " + talk).out);
    EXPECT_EQ(fmt::format("{}\n", fmt::join(json["tokens"].get<std::vector<int>>(), " ")), ids);
    EXPECT_EQ(json["count"], json["tokens"].size());
    EXPECT_EQ(json["pieces"].front(), "<｜begin▁of▁sentence｜>");
    EXPECT_EQ(json["pieces"].back(), "</think>");
    EXPECT_EQ(std::count(json["pieces"].begin(), json["pieces"].end(), "<think>"), 0);
    EXPECT_EQ(ordered_json::parse(run(v41() + " --json --text --conversation " + talk).out)["text"],
              run(v41() + " --text --conversation " + talk).out);
    EXPECT_EQ(run(v41() + " --count --conversation " + talk).out, json["count"].dump() + "\n");
}

TEST_F(Tokenize, CompletionsAreReadBack) {
    for (const auto& one : test::encoding_cases("parse-ns-call")) {
        const auto o = run(v41() + " --parse --conversation " + file(one["input"]));
        EXPECT_EQ(ordered_json::parse(o.out), one["expected"]) << o.err;
        const std::string text = one["input"]["completion"];
        EXPECT_EQ(run(v41() + " --parse --thinking", text).out, o.out);
        const auto json = ordered_json::parse(run(v41() + " --parse --thinking --json", text).out);
        EXPECT_EQ(json["message"], one["expected"]);
        EXPECT_EQ(json["repairs"], ordered_json::array());
        // In V4's format nothing is a namespace.
        EXPECT_EQ(ordered_json::parse(
                      run("tokenize --parse --thinking", text).out)["tool_calls"][0]["function"]["name"],
                  "files::read_file");
    }
    // With a conversation its tools count, and its prompt says where the answer begins.
    const auto talk = file({{"messages", {{{"role", "user"}, {"content", "Q"}}}}});
    const auto message = ordered_json::parse(
        run(v41() + " --parse --conversation " + talk, "r</think>a\n\n<｜DSML｜ calls>\n").out);
    EXPECT_EQ(message["reasoning_content"], "r");
    EXPECT_EQ(message["tool_calls"], ordered_json::array());
}

TEST_F(Tokenize, WhatCannotBeIsRefusedByName) {
    const auto talk = file({{"messages", {{{"role", "user"}, {"content", "Q"}}}}, {"thinking_mode", "chat"}});
    expect_usage("tokenize --text", "--conversation");
    expect_usage("tokenize --api chat", "--conversation");
    expect_usage("tokenize --thinking", "--parse");
    expect_usage("tokenize --special --conversation " + talk, "--special");
    expect_usage("tokenize --api grpc --conversation " + talk, "--api");
    expect_usage("tokenize --text --count --conversation " + talk, "--count");
    expect_error("tokenize -p x --conversation " + talk, "-p");
    expect_error(v41() + " --april --conversation " + talk, "--april");
    expect_error("tokenize --conversation " + path("none.json"), "none.json");
    expect_error("tokenize --conversation " + file({{"thinking_mode", "chat"}, {"messages", 1}}, "bad.json"),
                 "bad.json: messages");
    expect_error("tokenize --conversation " + file({{"thinking_mode", "chat"}, {"top_p", 1}}, "bad.json"),
                 "bad.json: top_p");
    expect_error("tokenize --conversation " + file({{"completion", "x"}}, "bad.json"), "--parse");
}

}  // namespace
}  // namespace cachalot
