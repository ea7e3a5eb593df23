// The form of an answer under all of its names: what it becomes, and what is refused.
#include "server/api/answer_forms.h"
#include "server/fields_test.h"

namespace cachalot::server::fields_test {
namespace {

using Kind = AnswerForm::Kind;

// What a form says, in one line.
std::string said(const AnswerForm& form) {
    constexpr const char* kNames[] = {"free", "object", "schema", "regex", "choice", "gbnf", "lark", "ebnf"};
    std::string line = kNames[static_cast<int>(form.kind)];
    if (form.kind == Kind::json_schema) line += " " + form.schema.dump();
    if (!form.text.empty()) line += " " + form.text;
    for (const auto& choice : form.choices) line += " " + choice;
    return line;
}

struct Asked {
    const char* members;
    const char* form;
    const char* source;
};

// clang-format off
const Asked kEverywhere[] = {
    {R"({"guided_json": {"type": "object"}})", R"(schema {"type":"object"})", "guided_json"},
    {R"({"guided_json": "{\"b\": 1, \"a\": 2}"})", R"(schema {"b":1,"a":2})", "guided_json"},
    {R"({"guided_json": {}})", "schema {}", "guided_json"},
    {R"({"guided_json_object": true})", "object", "guided_json_object"},
    {R"({"guided_json_object": false})", "free", ""},
    {R"({"guided_regex": "a+"})", "regex a+", "guided_regex"},
    {R"({"guided_choice": ["a", "b"]})", "choice a b", "guided_choice"},
    {R"({"guided_grammar": "root ::= x"})", "ebnf root ::= x", "guided_grammar"},
    {R"({"structured_outputs": {"json": {"const": 1}, "disable_fallback": true}})", R"(schema {"const":1})", "structured_outputs.json"},
    {R"({"structured_outputs": {"json": "{}", "whitespace_pattern": null}})", "schema {}", "structured_outputs.json"},
    {R"({"structured_outputs": {"regex": "a"}})", "regex a", "structured_outputs.regex"},
    {R"({"structured_outputs": {"choice": ["x"]}})", "choice x", "structured_outputs.choice"},
    {R"({"structured_outputs": {"grammar": "start: x"}})", "ebnf start: x", "structured_outputs.grammar"},
    {R"({"structured_outputs": {"json_object": true, "disable_any_whitespace": false}})", "object", "structured_outputs.json_object"},
    {R"({"json_schema": {"type": "null"}})", R"(schema {"type":"null"})", "json_schema"},
    {R"({"json_schema": "{}"})", "schema {}", "json_schema"},
    {R"({"grammar": "root ::= \"a\""})", R"(gbnf root ::= "a")", "grammar"},
    {R"({"regex": "[0-9]"})", "regex [0-9]", "regex"},
    {R"({"ebnf": "root ::= x"})", "ebnf root ::= x", "ebnf"},
    {R"({"format": "json"})", "object", "format"},
    {R"({"format": {"type": "object"}})", R"(schema {"type":"object"})", "format"},
    {R"({"guided_json": null, "grammar": "", "guided_choice": [], "json_schema": false, "structured_outputs": {}})", "free", ""},
    {R"({"regex": "a", "grammar": null, "guided_json": ""})", "regex a", "regex"},
};

struct AskedIn {
    const char* dialect;
    Asked asked;
};
const AskedIn kSomewhere[] = {
    {"chat", {R"({"response_format": {"type": "text"}})", "free", ""}},
    {"chat", {R"({"response_format": {"type": "json_object"}})", "object", "response_format.type"}},
    {"chat", {R"({"response_format": {"type": "json_object", "schema": {"type": "array"}}})", R"(schema {"type":"array"})", "response_format.schema"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {"type": "object"}}}})",
              R"(schema {"type":"object"})", "response_format.json_schema.schema"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}, "strict": false, "description": "A day."}}})",
              R"(schema {"description":"A day.","type":"object"})", "response_format.json_schema.schema"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "json_schema": {"schema": {"description": "own"}, "description": "A day."}}})",
              R"(schema {"description":"own"})", "response_format.json_schema.schema"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "schema": {"type": "object"}}})", R"(schema {"type":"object"})", "response_format.schema"}},
    {"completions", {R"({"response_format": {"type": "json_object"}})", "object", "response_format.type"}},
    {"completions", {R"({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}})", "schema {}", "response_format.json_schema.schema"}},
    {"responses", {R"({"text": {"format": {"type": "json_object"}}})", "object", "text.format.type"}},
    {"responses", {R"({"text": {"format": {"type": "json_schema", "name": "n", "schema": {"const": 1}, "strict": true, "description": null}}})",
                   R"(schema {"const":1})", "text.format.schema"}},
    {"responses", {R"({"text": {"format": {"type": "text"}}, "regex": "a"})", "regex a", "regex"}},
    {"messages", {R"({"output_format": {"type": "json_schema", "schema": {"const": 1}}})", R"(schema {"const":1})", "output_format.schema"}},
    {"messages", {R"({"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"const": 1}}}})", R"(schema {"const":1})", "output_config.format.schema"}},
    {"messages", {R"({"output_config": {"format": null}})", "free", ""}},
};

struct Bad {
    const char* members;
    const char* param;
};
const Bad kBadEverywhere[] = {
    {R"({"guided_json": 5})", "guided_json"},
    {R"({"guided_json": "{"})", "guided_json"},
    {R"({"guided_json": "[]"})", "guided_json"},
    {R"({"guided_json": true})", "guided_json"},
    {R"({"guided_json_object": "yes"})", "guided_json_object"},
    {R"({"guided_regex": {}})", "guided_regex"},
    {R"({"guided_choice": "a"})", "guided_choice"},
    {R"({"guided_choice": ["a", 5]})", "guided_choice[1]"},
    {R"({"guided_grammar": ["a"]})", "guided_grammar"},
    {R"({"guided_whitespace_pattern": " ?"})", "guided_whitespace_pattern"},
    {R"({"structured_outputs": "json"})", "structured_outputs"},
    {R"({"structured_outputs": {"jsn": {}}})", "structured_outputs.jsn"},
    {R"({"structured_outputs": {"structural_tag": "{}"}})", "structured_outputs.structural_tag"},
    {R"({"structured_outputs": {"json": {}, "regex": "a"}})", "structured_outputs.regex"},
    {R"({"structured_outputs": {"json": {}, "whitespace_pattern": " ?"}})", "structured_outputs.whitespace_pattern"},
    {R"({"structured_outputs": {"json": {}, "disable_any_whitespace": true}})", "structured_outputs.disable_any_whitespace"},
    {R"({"structured_outputs": {"json": {}, "disable_additional_properties": true}})", "structured_outputs.disable_additional_properties"},
    {R"({"guided_json": {}, "guided_regex": "a"})", "guided_regex"},
    {R"({"guided_json": {}, "structured_outputs": {"json": {}}})", "structured_outputs.json"},
    {R"({"guided_regex": "a", "grammar": "root ::= x"})", "grammar"},
    {R"({"json_schema": {}, "format": "json"})", "format"},
    {R"({"grammar": {"type": "json", "value": {}}})", "grammar"},
    {R"({"grammar": "root ::= x", "grammar_lazy": true})", "grammar_lazy"},
    {R"({"ebnf": 5})", "ebnf"},
    {R"({"format": "yaml"})", "format"},
    {R"({"guidedJson": {}})", "guidedJson"},
    {R"({"structuredOutputs": {"json": {}}})", "structuredOutputs"},
};

const std::pair<const char*, Bad> kBadSomewhere[] = {
    {"chat", {R"({"response_format": {"type": "json_schema"}})", "response_format.json_schema"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}})", "response_format.json_schema.schema"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "json_schema": {"name": 5, "schema": {}}}})", "response_format.json_schema.name"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "json_schema": {"strict": "yes", "schema": {}}}})", "response_format.json_schema.strict"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "json_schema": {"schema": []}}})", "response_format.json_schema.schema"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "grammar": "x"}}})", "response_format.json_schema.grammar"}},
    {"chat", {R"({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}, "schema": {}}})", "response_format.schema"}},
    {"chat", {R"({"response_format": {"type": "structural_tag"}})", "response_format.type"}},
    {"chat", {R"({"response_format": {"type": "json_object"}, "guided_json": {}})", "guided_json"}},
    {"completions", {R"({"response_format": {"type": "json_object"}, "regex": "a"})", "regex"}},
    {"responses", {R"({"text": {"format": {"type": "json_schema", "json_schema": {"schema": {}}}}})", "text.format.json_schema"}},
    {"responses", {R"({"text": {"format": {"type": "grammar", "grammar": "x"}}})", "text.format.type"}},
    {"responses", {R"({"output_format": {"type": "json_schema", "schema": {}}})", "output_format"}},
    {"chat", {R"({"output_config": {"format": {"type": "json_schema", "schema": {}}}})", "output_config.format"}},
    {"messages", {R"({"output_format": {"type": "json_schema"}})", "output_format.schema"}},
    {"messages", {R"({"output_format": {"type": "json_schema", "schema": {}}, "output_config": {"format": {"type": "json_schema", "schema": {}}}})", "output_config.format"}},
    {"messages", {R"({"outputFormat": {"type": "json_schema", "schema": {}}})", "outputFormat"}},
};
// clang-format on

void expect_form(const std::string& dialect, const Asked& asked) {
    SCOPED_TRACE(dialect + " " + asked.members);
    const AnswerForm form = read(dialect, asked.members).form;
    EXPECT_EQ(said(form), asked.form);
    EXPECT_EQ(form.source, asked.source);
}

TEST(ApiAnswerForms, AreReadUnderAllOfTheirNames) {
    for (const char* dialect : kDialects)
        for (const auto& asked : kEverywhere) expect_form(dialect, asked);
    for (const auto& [dialect, asked] : kSomewhere) expect_form(dialect, asked);
}

TEST(ApiAnswerForms, WhatIsNotUnderstoodOfThemIsRefusedByName) {
    for (const char* dialect : kDialects)
        for (const auto& [members, param] : kBadEverywhere) expect_refused(dialect, members, param);
    for (const auto& [dialect, bad] : kBadSomewhere) expect_refused(dialect, bad.members, bad.param);
}

TEST(ApiAnswerForms, ResponsesRepeatTheFormAsItWasAskedFor) {
    const auto body = ordered_json::parse(R"({"input": "x", "text": {"format":
        {"type": "json_schema", "name": "n", "schema": {"const": 1}, "strict": true}, "verbosity": "low"}})");
    EXPECT_EQ(read_responses_request(body, FakeService().info()).repeated["text"].dump(),
              body["text"].dump());
}

}  // namespace
}  // namespace cachalot::server::fields_test
