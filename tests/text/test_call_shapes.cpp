// Calls in every shape that models have been seen to write, made by a grammar: whatever the spelling, as many
// calls as were begun, with the arguments that were meant, and nothing of a tag in the content.
//
// CACHALOT_CALL_SHAPES=120000 in the environment tries that many; a few are tried otherwise. They are the
// same each time.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>

#include "text/completion_parser.h"

namespace cachalot {
namespace {

using nlohmann::json;

std::shared_ptr<const ToolSchemas> tools() {
    static const auto kTools = [] {
        Conversation conversation;
        conversation.tools = nlohmann::ordered_json::parse(R"([
            {"name": "write", "parameters": {"type": "object", "required": ["path"], "properties":
                {"path": {"type": "string"}, "lines": {"type": "integer"}, "force": {"type": "boolean"}}}},
            {"name": "plot", "parameters": {"type": "object", "required": ["points", "title"], "properties":
                {"points": {"type": "array", "items": {"type": "number"}}, "title": {"type": ["string", "null"]}}}},
            {"name": "run_command", "parameters": {"type": "object", "required": ["command"], "properties":
                {"command": {"type": "string"}}}},
            {"name": "option", "parameters": {"type": "object", "properties":
                {"arguments": {"type": "string"}, "level": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}},
            {"name": "now", "parameters": {"type": "object", "properties": {}}}])");
        return std::make_shared<const ToolSchemas>(conversation);
    }();
    return kTools;
}

struct Call {
    std::string name;
    json arguments;
};

// One text and what it means.
class Shape {
  public:
    explicit Shape(std::uint64_t seed) : random_(seed) {
        sentinel_ = pick({"｜DSML｜", "|DSML|", "｜｜DSML｜｜", "｜DSML|", "｜DSML｜ "});
        const bool block = chance(85), closed = chance(80);
        const std::string name = pick(
            {"tool_calls", "toolcalls", "tool_call", "function_calls", "calls", "Tool_Calls", "tool-calls"});
        text += pick({"", "I do it.", "Two lines.\n\nOf text.", "<b>1 < 2</b>"});
        if (block) text += pick({"\n\n", "", "\n"}) + "<" + sentinel_ + name + ">" + pick({"\n", ""});
        const std::size_t count = 1 + below(3);
        for (std::size_t i = 0; i < count; i++) {
            if (!open_invoke_ && chance(20))
                text += "\n" + pick({"Now the call:", "Then this one.", "1 < 2, so:"}) + "\n";
            add_call(i + 1 == count);
        }
        if (block && closed)
            text += (open_value_ ? "\n</" : "</") + sentinel_ + (chance(80) ? name : "function_calls") + ">";
        if (open_invoke_ || !closed) return;
        text += pick({"", "\nDone.", "<｜end▁of▁sentence｜>", "\n</think>", " Done</think>"});
    }

    std::string text;
    std::vector<Call> calls;

    std::vector<std::string_view> pieces() {
        const std::size_t longest = std::size_t{1} << below(7);
        std::vector<std::string_view> all;
        for (std::size_t at = 0; at < text.size();) {
            all.push_back(std::string_view(text).substr(at, 1 + below(longest)));
            at += all.back().size();
        }
        return all;
    }

  private:
    std::size_t below(std::size_t n) { return random_() % n; }
    bool chance(std::size_t percent) { return below(100) < percent; }
    std::string pick(std::initializer_list<const char*> list) { return list.begin()[below(list.size())]; }

    std::string open(const std::string& word, const std::string& name, const std::string& rest = "") {
        const std::string quote = pick({"\"", "\"", "'"});
        return "<" + sentinel_ + word + " name=" + quote + name + quote + rest + pick({">", ">", " >"});
    }
    // What models make of the head of a call.
    std::string open_invoke(const std::string& word, const std::string& name) {
        const std::string start = "<" + sentinel_ + word;
        switch (below(12)) {
            case 0: return start + " " + name + ">";
            case 1: return start + " \"" + name + "\">";
            case 2: return start + "(\"" + name + "\")>";
            case 3: return start + " name=\"" + name + "\"" + pick({";>", ",>", "|>", "｜>", ", >"});
            case 4: return start + " name=\\\"" + name + "\\\">";
            case 5: return start + " name=“" + name + "”>";
            case 6: return start + " name='" + name + "\">";
            default: return open(word, name);
        }
    }
    std::string close(const std::string& word) { return "</" + sentinel_ + word + ">"; }

    Call wanted() {
        switch (below(5)) {
            case 0: {
                json arguments = {{"path", pick({"a.txt", "b c\nd", "<x>/é", "5"})}};
                if (chance(50)) arguments["lines"] = below(1000);
                if (chance(30)) arguments["force"] = chance(50);
                return {"write", arguments};
            }
            case 1:
                return {"plot",
                        {{"points", {1, 2.5, -3}}, {"title", pick({"t", "true", "[1]", "say \"hi\""})}}};
            case 2:
                return {"run_command", {{"command", pick({"ls -l", "echo \"$x\" | wc", "cat <in >out"})}}};
            case 3: return {"option", {{"arguments", pick({"-v", "--all"})}, {"level", below(9)}}};
            default: return {"now", json::object()};
        }
    }

    void add_call(bool last) {
        if (chance(8)) return add_no_call();
        const Call call = wanted();
        calls.push_back(call);
        const std::string word = pick({"invoke", "invoke", "Invoke", "invokes", "inovke"});
        const std::string spelt = chance(10) ? "functions." + call.name : call.name;
        if (call.arguments.empty() && chance(50)) {
            text += open(word, spelt, "/");
            return;
        }
        const std::size_t form = below(4);
        const bool closes_itself = form > 1 && !call.arguments.empty() && chance(10);  // but does not
        text +=
            closes_itself ? open(word, spelt, "/") + "\n" : open_invoke(word, spelt) + pick({"\n", "\n", ""});
        bool on_new_line = false;
        switch (form) {
            case 0: text += wrapped(call); break;
            case 1: text += body(call); break;
            default: on_new_line = parameters(call);
        }
        open_invoke_ = chance(20);
        open_value_ = false;
        if (open_invoke_) {
            open_value_ = on_new_line;
            if (!last) text += "\n";
            return;
        }
        text +=
            (on_new_line ? "\n" : pick({"\n", ""})) + close(chance(80) ? word : "invoke") + pick({"\n", ""});
    }

    // A tool that is not there, or one whose arguments are lost.
    void add_no_call() {
        const std::string name = pick({"paint", "plot", "run_command", "pa</think>int", "<｜User｜>"});
        const std::string inside =
            name == "plot" ? "something"
            : name == "run_command"
                ? pick({"{\"command\": \"a\" \"b\"}", "{\"command\": \"a\"} b", "[\"a\"]",
                        "<command>a</command>", "{\"command\": \"a\"}{\"command\": \"b\"}", "null",
                        "{\"command\": NaN}"})
                : open("parameter", "colour", " string=\"true\"") +
                      pick({"red", "1</think>2", "<｜User｜>"}) + close("parameter");
        text += open("invoke", name) + "\n" + inside + "\n" + close("invoke");
        open_invoke_ = false;
    }

    // All as parameters. Whether the last one has no end, so that the next tag has to begin a line.
    bool parameters(const Call& call) {
        bool open_value = false;
        if (chance(10) && !call.arguments.empty() && !text.ends_with("/>\n")) text += "Let me see.\n";
        for (const auto& [name, value] : call.arguments.items()) {
            if (open_value) text += "\n";
            const bool is_text = value.is_string();
            const bool truthful = chance(70);
            const std::string attribute =
                " string=\"" + std::string(is_text == truthful ? "true" : "false") + "\"";
            const std::string spelt = is_text && !truthful ? value.dump()
                                      : is_text            ? value.get<std::string>()
                                                           : value.dump();
            const std::string word = pick({"parameter", "parameter", "param", "paramter", "parameters"});
            text += open(word, name, attribute) + spelt;
            open_value = chance(15);
            if (!open_value) text += close(chance(90) ? word : "parameter") + pick({"\n", ""});
        }
        return open_value;
    }

    std::string json_text(const Call& call) {
        json arguments = call.arguments;
        if (call.name == "write" && arguments.contains("lines") && chance(30))
            arguments["lines"] = arguments["lines"].dump();
        return arguments.dump(chance(30) ? 2 : -1);
    }

    std::string wrapped(const Call& call) {
        if (call.name == "option" || call.name == "now") return body(call);
        std::string inside = json_text(call);
        if (chance(20)) inside = json{{"arguments", json::parse(inside)}}.dump();
        if (chance(20)) inside = json(inside).dump();
        if (call.name == "run_command" && chance(30)) inside = call.arguments["command"];
        if (call.name == "run_command" && chance(20)) {
            const std::string own =
                open("parameter", "command", pick({" string=\"true\"", " string=\"false\""}));
            return own + call.arguments.dump() + close("parameter");
        }
        const std::string name = pick({"arguments", "input", "args", "parameters", "params", "kwargs"});
        return open("parameter", name, pick({" string=\"true\"", " string=\"false\"", ""})) + inside +
               close("parameter");
    }

    std::string body(const Call& call) {
        if (call.name == "now") return pick({"", "{}", "\n\n"});
        if (call.name == "run_command" && chance(40)) return call.arguments["command"];
        std::string inside = json_text(call);
        if (call.name != "option") {
            if (chance(20)) inside = json{{"input", inside}}.dump();
            if (chance(20)) inside = json{{"name", call.name}, {"arguments", json::parse(inside)}}.dump();
        }
        if (chance(15)) inside.pop_back();  // its last bracket
        return chance(20) ? "```json\n" + inside + "\n```" : inside;
    }

    std::mt19937_64 random_;
    std::string sentinel_;
    bool open_invoke_ = false;  // the last call has no end
    bool open_value_ = false;   // nor has its last value
};

std::string expectation(const Shape& shape, const Completion& result) {
    for (const char* mark : {"DSML", "｜", "think>", "invoke", "parameter", "_calls"})
        if (result.content.find(mark) != std::string::npos) return std::string("content has ") + mark;
    if (result.tool_calls.size() != shape.calls.size()) return "another number of calls";
    for (std::size_t i = 0; i < shape.calls.size(); i++) {
        if (result.tool_calls[i].name != shape.calls[i].name) return "another name";
        if (json::parse(result.tool_calls[i].arguments) != shape.calls[i].arguments) return "other arguments";
    }
    return {};
}

std::string described(const Shape& shape, const Completion& result) {
    std::string text = shape.text + "\n--- content: " + result.content + "\n";
    for (const ParsedToolCall& call : result.tool_calls) text += "--- " + call.name + call.arguments + "\n";
    for (const Call& call : shape.calls) text += "+++ " + call.name + call.arguments.dump() + "\n";
    return text;
}

TEST(CallShapes, AreReadAsTheyAreMeant) {
    const char* asked = std::getenv("CACHALOT_CALL_SHAPES");
    const std::uint64_t count = asked ? std::strtoull(asked, nullptr, 10) : 4000;
    int wrong = 0;
    for (std::uint64_t seed = 0; seed < count && wrong < 3; seed++) {
        Shape shape(seed);
        const Completion whole = parse_completion(shape.text, false, tools());
        const std::string problem = expectation(shape, whole);
        CompletionParser parser(false, tools());
        for (const std::string_view piece : shape.pieces()) parser.feed(piece);
        parser.finish();
        const Completion& pieces = parser.completion();
        bool same = pieces.content == whole.content && pieces.repairs == whole.repairs &&
                    pieces.tool_calls.size() == whole.tool_calls.size();
        for (std::size_t i = 0; same && i < whole.tool_calls.size(); i++)
            same = pieces.tool_calls[i].arguments == whole.tool_calls[i].arguments;
        if (problem.empty() && same) continue;
        wrong++;
        ADD_FAILURE() << "shape " << seed << ": " << (same ? problem : "cuts matter") << "\n"
                      << described(shape, whole);
    }
}

}  // namespace
}  // namespace cachalot
