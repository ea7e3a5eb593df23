#include "service/script.h"

#include <algorithm>

#include "file/text_file.h"
#include "service/json_field.h"
#include "text/chat_json.h"

namespace cachalot::server {
namespace {

std::string last_user_text(const Request& request) {
    if (request.raw) {
        std::string text;
        for (const auto& part : request.text) text += part.text;
        return text;
    }
    const auto& messages = request.conversation.messages;
    for (auto m = messages.rbegin(); m != messages.rend(); ++m)
        if (m->role == Role::user) return content_text(m->content);
    return {};
}

std::string system_text(const Request& request) {
    for (const auto& m : request.conversation.messages)
        if (m.role == Role::system || m.role == Role::developer) return content_text(m.content);
    return {};
}

bool ends_in_tool_result(const Request& request) {
    const auto& messages = request.conversation.messages;
    return !messages.empty() && messages.back().role == Role::tool;
}

std::string all_text(const Request& request) {
    auto text = request.raw ? last_user_text(request) : std::string();
    for (const auto& m : request.conversation.messages) text += content_text(m.content) + "\n";
    return text;
}

template <class T, class Read>
std::optional<T> optional(const Field& field, Read read) {
    return field ? std::optional<T>(read(field)) : std::nullopt;
}

std::optional<std::string> text_of(const Field& field) {
    return optional<std::string>(field, [](const Field& f) { return f.string(); });
}
std::optional<bool> bool_of(const Field& field) {
    return optional<bool>(field, [](const Field& f) { return f.boolean(); });
}

ScriptedAnswer read_answer(const Field& field) {
    ScriptedAnswer answer;
    answer.reasoning = field["reasoning"].string_or("");
    answer.content = field["content"].string_or("");
    answer.raw = text_of(field["raw"]);
    answer.error = text_of(field["error"]);
    if (auto calls = field["tool_calls"])
        for (std::size_t i = 0; i < calls.size(); ++i) {
            auto arguments = calls[i]["arguments"];
            answer.tool_calls.push_back({"", calls[i]["name"].string(),
                                         arguments.is_string() ? arguments.string()
                                         : arguments           ? python_json(arguments.object())
                                                               : "{}"});
        }
    auto chunk = field["chunk"].string_or("word");
    if (chunk == "char")
        answer.chunk = ScriptedAnswer::Chunk::character;
    else if (chunk == "all")
        answer.chunk = ScriptedAnswer::Chunk::all;
    else if (chunk != "word")
        field["chunk"].refuse("expected char, word or all");
    answer.delay_ms_per_token = static_cast<int>(field["delay_ms_per_token"].integer_or(0, 0, 60'000));
    answer.finish_reason = field["finish_reason"].string_or("");
    return answer;
}

ScriptedRule read_rule(const Field& field) {
    ScriptedRule rule;
    rule.answer = read_answer(field);
    auto match = field["match"];
    if (!match) return rule;
    if (auto pattern = match["last_user_regex"]) try {
            rule.last_user_regex.emplace(pattern.string());
        } catch (const std::regex_error& e) {
            pattern.refuse(e.what());
        }
    rule.last_user = text_of(match["last_user"]);
    rule.contains = text_of(match["contains"]);
    rule.system_contains = text_of(match["system_contains"]);
    rule.tool = text_of(match["tool"]);
    rule.has_tool_result = bool_of(match["has_tool_result"]);
    rule.has_tools = bool_of(match["has_tools"]);
    rule.turn = optional<int>(match["turn"],
                              [](const Field& f) { return static_cast<int>(f.integer(0, 1'000'000)); });
    return rule;
}

}  // namespace

bool ScriptedRule::matches(const Request& request) const {
    auto has = [](const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos;
    };
    const auto& conversation = request.conversation;
    if (last_user && last_user_text(request) != *last_user) return false;
    if (last_user_regex && !std::regex_search(last_user_text(request), *last_user_regex)) return false;
    if (contains && !has(all_text(request), *contains)) return false;
    if (system_contains && !has(system_text(request), *system_contains)) return false;
    if (has_tool_result && ends_in_tool_result(request) != *has_tool_result) return false;
    if (has_tools && conversation.tools.empty() == *has_tools) return false;
    if (tool && std::none_of(conversation.tools.begin(), conversation.tools.end(),
                             [&](const auto& t) { return t.value("name", "") == *tool; }))
        return false;
    if (turn && std::count_if(conversation.messages.begin(), conversation.messages.end(),
                              [](const Message& m) { return m.role == Role::assistant; }) != *turn)
        return false;
    return true;
}

Script Script::load(const std::filesystem::path& path) {
    try {
        auto json = parse_json(read_text_input(path.string()), path.string());
        Field root(json);
        Script script;
        script.model = root["model"].string_or(script.model);
        script.context = root["context"].integer_or(script.context, 1, std::int64_t{1} << 30);
        if (auto format = root["format"]; format && format.string() == "v4.1")
            script.format = ChatFormat::v41;
        else if (format && format.string() != "v4")
            format.refuse("expected v4 or v4.1");
        if (auto rules = root["rules"])
            for (std::size_t i = 0; i < rules.size(); ++i) script.rules.push_back(read_rule(rules[i]));
        script.fallback.content = "ok";
        if (auto fallback = root["default"]) script.fallback = read_answer(fallback);
        return script;
    } catch (const ApiError& e) {
        fail("{}: {}", path.string(), e.what());
    }
}

const ScriptedAnswer& Script::answer(const Request& request) const {
    for (const auto& rule : rules)
        if (rule.matches(request)) return rule.answer;
    return fallback;
}

}  // namespace cachalot::server
