// Six tools are described and a question asks for one call, every fourth for two. A call counts half for its
// name and half for its arguments; calls that were not asked for take as much away.
#include <fmt/format.h>

#include <algorithm>

#include "measure/eval_item.h"

namespace cachalot {
namespace {

using nlohmann::json;

struct Call {
    std::string name;
    json arguments;
};

std::vector<nlohmann::ordered_json> tools() {
    auto tool = [](const char* name, const char* description, nlohmann::ordered_json properties) {
        auto required = nlohmann::ordered_json::array();
        for (const auto& [key, value] : properties.items()) required.push_back(key);
        return nlohmann::ordered_json{
            {"name", name},
            {"description", description},
            {"parameters", {{"type", "object"}, {"properties", properties}, {"required", required}}}};
    };
    const nlohmann::ordered_json text = {{"type", "string"}}, integer = {{"type", "integer"}};
    return {tool("get_weather", "Get the current weather in a city.", {{"city", text}}),
            tool("get_time", "Get the current time in a city.", {{"city", text}}),
            tool("calculator", "Evaluate an arithmetic expression.", {{"expression", text}}),
            tool("set_timer", "Set a timer.", {{"minutes", integer}}),
            tool("read_file", "Read a text file.", {{"path", text}}),
            tool("search", "Search the web.", {{"query", text}})};
}

// Spaces in an expression do not matter.
json plain(json arguments) {
    if (auto e = arguments.find("expression"); e != arguments.end() && e->is_string()) {
        std::string text = *e;
        std::erase(text, ' ');
        *e = text;
    }
    return arguments;
}

double judge_calls(std::vector<Call> expected, const std::vector<ParsedToolCall>& calls) {
    const auto wanted = static_cast<double>(expected.size());
    double score = 0;
    // The best fit of each call is taken: first those that are right, then those with the right name.
    std::vector<const ParsedToolCall*> left;
    for (const auto& call : calls) left.push_back(&call);
    for (bool arguments : {true, false})
        std::erase_if(left, [&](const ParsedToolCall* call) {
            const json given = json::parse(call->arguments, nullptr, false);
            const auto fits = std::find_if(expected.begin(), expected.end(), [&](const Call& e) {
                return e.name == call->name &&
                       (!arguments || (given.is_object() && plain(given) == plain(e.arguments)));
            });
            if (fits == expected.end()) return false;
            score += arguments ? 1 : 0.5;
            expected.erase(fits);
            return true;
        });
    return std::max(0.0, score - static_cast<double>(left.size())) / wanted;
}

}  // namespace

EvalItem tools_item(EvalRandom& random, std::int64_t number, const EvalOptions&) {
    const auto cities = random.sample(kEvalCities, 2);
    std::vector<Call> calls;
    std::string question;
    if (number % 4 == 3) {
        question = fmt::format("What is the weather in {}, and what time is it in {}?", cities[0], cities[1]);
        calls = {{"get_weather", {{"city", cities[0]}}}, {"get_time", {{"city", cities[1]}}}};
    } else {
        const auto minutes = random.between(2, 59);
        const auto a = random.between(12, 99), b = random.between(12, 99);
        switch (random.below(5)) {
            case 0:
                question = fmt::format("What is the weather in {}?", cities[0]);
                calls = {{"get_weather", {{"city", cities[0]}}}};
                break;
            case 1:
                question = fmt::format("What time is it in {}?", cities[0]);
                calls = {{"get_time", {{"city", cities[0]}}}};
                break;
            case 2:
                question = fmt::format("Set a timer for {} minutes.", minutes);
                calls = {{"set_timer", {{"minutes", minutes}}}};
                break;
            case 3:
                question = fmt::format("Use the calculator to compute {} * {}.", a, b);
                calls = {{"calculator", {{"expression", fmt::format("{} * {}", a, b)}}}};
                break;
            default: {
                const std::vector<std::string> files = {"notes.txt", "todo.md", "config.json", "letter.txt"};
                const auto& file = random.pick(files);
                question = fmt::format("Read the file {}.", file);
                calls = {{"read_file", {{"path", file}}}};
            }
        }
    }
    EvalItem item;
    item.turns = {question};
    item.tools = tools();
    for (const auto& call : calls)
        item.expected +=
            fmt::format("{}{}({})", item.expected.empty() ? "" : ", ", call.name, call.arguments.dump());
    item.judge = [calls](std::span<const Completion> answers) {
        return judge_calls(calls, answers[0].tool_calls);
    };
    return item;
}

}  // namespace cachalot
