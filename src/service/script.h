// The file of a scripted model: rules that turn a conversation into an answer. See docs/scripted.md.
#pragma once

#include <filesystem>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "service/service.h"

namespace cachalot::server {

struct ScriptedAnswer {
    enum class Chunk { character, word, all };

    std::string reasoning, content;
    std::vector<ToolCall> tool_calls;
    std::optional<std::string> raw;  // the text as the model would write it, in place of the three above
    Chunk chunk = Chunk::word;
    int delay_ms_per_token = 0;
    std::string finish_reason;         // "length" to pretend; empty: what the answer amounts to
    std::optional<std::string> error;  // the request fails with this message instead
};

struct ScriptedRule {
    // All that are given must hold.
    std::optional<std::regex> last_user_regex;
    std::optional<std::string> last_user, contains, system_contains, tool;
    std::optional<bool> has_tool_result, has_tools;
    std::optional<int> turn;
    ScriptedAnswer answer;

    bool matches(const Request& request) const;
};

struct Script {
    std::string model = "scripted";
    std::int64_t context = 1 << 20;
    ChatFormat format = ChatFormat::v4;  // of prompts and answers
    std::vector<ScriptedRule> rules;
    ScriptedAnswer fallback;

    // Throws Error naming the file and the field.
    static Script load(const std::filesystem::path& path);

    const ScriptedAnswer& answer(const Request& request) const;
};

}  // namespace cachalot::server
