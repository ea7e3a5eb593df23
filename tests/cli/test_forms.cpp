// Answers that have a form, as options ask for it.
#include <nlohmann/json.hpp>
#include <regex>

#include "cli/program.h"
#include "support/nano.h"
#include "support/schema_checker.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

constexpr const char* kPerson =
    R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 9},
    "age": {"type": "integer", "minimum": 0, "maximum": 150}}, "required": ["name", "age"],
    "additionalProperties": false})";

TEST_F(Commands, AnswersHaveTheFormThatOptionsAskFor) {
    std::ofstream(path("person.json")) << kPerson;
    std::ofstream(path("list.gbnf")) << "root ::= \"- \" [a-z]+ \"\\n\" \"- end\"\n";
    const auto fits = [&](const std::string& text) {
        return test::SchemaChecker(ordered_json::parse(kPerson)).problem(ordered_json::parse(text));
    };
    for (const char* how : {"", "--raw", "--draft lookup", "--think on -n 400"}) {
        const auto o = run(fmt::format("run -p 'Who are you?' --temp 1.5 --seed 3 {} --schema {}", how,
                                       path("person.json")));
        ASSERT_EQ(o.status, 0) << o.err;
        EXPECT_EQ(fits(how == std::string("--think on -n 400") ? o.out.substr(o.out.rfind("{")) : o.out), "")
            << o.out;
    }
    EXPECT_TRUE(
        std::regex_match(run("run -p Hi --regex '(yes|no)[0-9]{3}'").out, std::regex("(yes|no)[0-9]{3}\n")));
    EXPECT_TRUE(std::regex_match(run("run -p Hi -n 40 --temp 0 --grammar " + path("list.gbnf")).out,
                                 std::regex("- [a-z]+\n- end\n|- [a-z]+\n")));
    const auto whole =
        ordered_json::parse(run("run -p 'A person.' --json --temp 0 --json-object -n 300").out);
    if (whole["finish_reason"] == "stop") {
        EXPECT_TRUE(ordered_json::parse(whole["text"].get<std::string>()).is_object());
    }
    const auto talk = run("chat --temp 0 --regex '[ab]{4}'", "Hi\nHo\n");
    EXPECT_EQ(talk.status, 0) << talk.err;
    EXPECT_TRUE(std::regex_match(talk.out, std::regex("[ab]{4}\n+[ab]{4}\n*"))) << talk.out;
}

TEST_F(Commands, FormsThatAreWrongOrContradictAreNamed) {
    std::ofstream(path("person.json")) << kPerson;
    std::ofstream(path("wrong.json")) << R"({"properties": {"a": {"type": "thing"}}})";
    std::ofstream(path("model.gguf")) << "GGUF";
    const std::pair<std::string, const char*> wrong[] = {
        {"--schema " + path("none.json"), "none.json"},
        {"--schema " + path("wrong.json"), "wrong.json"},
        {"--grammar " + path("wrong.json"), "wrong.json"},
        {"--regex '(a'", "--regex"},
    };
    for (const auto& [options, named] : wrong) {
        expect_error(fmt::format("run hi -m {} {}", path("model.gguf"), options), named);
        expect_error(fmt::format("chat -m {} {}", path("model.gguf"), options), named);
    }
    const char* forms[] = {"--schema x", "--grammar x", "--regex x", "--json-object"};
    for (const char* one : forms) {
        expect_usage(fmt::format("run hi {} --ignore-eos", one), "--ignore-eos");
        for (const char* other : forms)
            if (one != other) expect_usage(fmt::format("run hi {} {}", one, other), "excludes");
    }
}

}  // namespace
}  // namespace cachalot
