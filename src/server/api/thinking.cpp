#include "server/api/thinking.h"

#include <array>

namespace cachalot::server {
namespace {

// After how many tokens of reasoning the answer begins.
void apply_budget(const Field& budget, Request& request) {
    if (!budget) return;
    const auto tokens = budget.integer(-1, kMaxTokensLimit);
    if (tokens == 0) request.chat.thinking = false;
    request.generation.max_reasoning = tokens > 0 ? tokens : -1;
}

void apply_switch(const Field& on, ChatOptions& chat) { chat.thinking = on.boolean_or(chat.thinking); }

void read_template_arguments(const Field& arguments, Request& request) {
    if (!arguments) return;
    auto& chat = request.chat;
    apply_switch(arguments["enable_thinking"], chat);
    apply_switch(arguments["thinking"], chat);
    if (const auto mode = arguments["thinking_mode"]) {
        if (mode.string() != "chat" && mode.string() != "thinking") mode.refuse("expected chat or thinking");
        chat.thinking = mode.string() == "thinking";
    }
    if (const auto effort = arguments["reasoning_effort"]) apply_effort(effort, chat);
    apply_budget(arguments["thinking_budget"], request);
    chat.drop_thinking = arguments["drop_thinking"].boolean_or(chat.drop_thinking);
}

void read_reasoning(const Field& reasoning, Request& request) {
    if (!reasoning) return;
    auto& chat = request.chat;
    if (reasoning.is_boolean()) return apply_switch(reasoning, chat);
    if (const auto effort = reasoning["effort"]) apply_effort(effort, chat);
    if (const auto budget = reasoning["max_tokens"]) {
        chat.thinking = true;
        apply_budget(budget, request);
    }
    apply_switch(reasoning["enabled"], chat);
    request.hide_reasoning = reasoning["exclude"].boolean_or(request.hide_reasoning);
}

void read_thinking_type(const Field& thinking, Request& request, bool any_type) {
    if (!thinking) return;
    auto& chat = request.chat;
    if (thinking.is_boolean()) return apply_switch(thinking, chat);
    const auto type = thinking["type"];
    if (type.string() == "disabled")
        chat.thinking = false;
    else if (type.string() == "enabled" || any_type)
        chat.thinking = true;
    else if (type.string() != "adaptive" && type.string() != "auto")
        type.refuse("expected enabled, disabled, adaptive or auto");
    const bool off = type.string() == "disabled";
    if (const auto budget = thinking["budget_tokens"]; budget && !off) apply_budget(budget, request);
}

void read_visibility(const Field& body, Request& request) {
    if (const auto include = body["include_reasoning"]) request.hide_reasoning = !include.boolean();
    const auto format = body["reasoning_format"];
    if (!format) return;
    const auto& name = format.string();
    if (name == "hidden")
        request.hide_reasoning = true;
    else if (name != "parsed" && name != "auto" && name != "deepseek" && name != "deepseek-legacy")
        format.refuse("reasoning is shown apart (parsed, deepseek, auto) or not at all (hidden)");
}

}  // namespace

void apply_effort(const Field& effort, ChatOptions& chat) {
    static constexpr std::array<std::pair<std::string_view, Effort>, 6> kEfforts = {{{"minimal", Effort::low},
                                                                                     {"low", Effort::low},
                                                                                     {"medium", Effort::low},
                                                                                     {"high", Effort::high},
                                                                                     {"xhigh", Effort::max},
                                                                                     {"max", Effort::max}}};
    if (effort.string() == "none") {
        chat.thinking = false;
        return;
    }
    for (const auto& [name, value] : kEfforts) {
        if (effort.string() != name) continue;
        chat.thinking = true;
        chat.effort = value;
        return;
    }
    effort.refuse("expected none, minimal, low, medium, high, xhigh or max");
}

void read_thinking(const Field& body, Request& request, bool any_type) {
    auto& chat = request.chat;
    read_template_arguments(body["chat_template_kwargs"], request);
    if (const auto effort = body["reasoning_effort"]) apply_effort(effort, chat);
    read_reasoning(body["reasoning"], request);
    apply_switch(body["enable_thinking"], chat);
    if (const auto off = body["disable_reasoning"]) chat.thinking = !off.boolean();
    if (const auto think = body["think"])
        think.is_string() ? apply_effort(think, chat) : apply_switch(think, chat);
    read_thinking_type(body["thinking"], request, any_type);
    for (const char* name : {"thinking_budget", "thinking_budget_tokens", "thinking_token_budget",
                             "reasoning_budget", "max_reasoning_tokens"})
        apply_budget(body[name], request);
    read_visibility(body, request);
}

}  // namespace cachalot::server
