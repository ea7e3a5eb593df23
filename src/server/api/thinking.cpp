#include "server/api/thinking.h"

#include <algorithm>

#include "server/api/fields.h"

namespace cachalot::server {
namespace {

// Where a word may stand: as a member of the request, or of one of the objects that are about thinking.
constexpr unsigned kBody = 1, kInside = 2, kBoth = kBody | kInside;

struct Reader {
    Request& request;
    const bool if_asked;  // thinking is off unless the request asks for it

    void read(const Field& object, unsigned place);
};

void turn_on(const Field& on, Reader& r) { r.request.chat.thinking = on.boolean(); }
void turn_off(const Field& off, Reader& r) {
    if (off.boolean()) r.request.chat.thinking = false;
}

// How hard to think, if at all: a word or a number.
void read_effort(const Field& effort, Reader& r) {
    auto& chat = r.request.chat;
    if (effort.is_number()) {
        chat.effort = static_cast<Effort>(effort.integer(kLeastEffort, kMostEffort));
        chat.thinking = true;
        return;
    }
    chat.thinking = effort.string() != "none";
    if (!chat.thinking) return;
    const auto meant = effort_of_client(effort.string(), chat.format);
    if (!meant)
        effort.refuse(
            "expected none, minimal, low, medium, high, xhigh, max, ultra or an integer from 1 to 100");
    chat.effort = meant;
}

// Anthropic's effort does not ask for thinking.
void read_bare_effort(const Field& effort, Reader& r) {
    read_effort(effort, r);
    if (r.if_asked) r.request.chat.thinking = false;
}

void read_output_config(const Field& config, Reader& r) {
    for (const auto& [name, value] : config.object().items()) {
        if (name == "effort" && !value.is_null())
            read_bare_effort(config.member(name, value), r);
        else if (name != "effort" && name != "format" && name != "task_budget" && !value.is_null())
            config.member(name, value).refuse("not supported, expected effort");
    }
}

// After how many tokens of reasoning the answer begins.
void read_budget(const Field& budget, Reader& r) {
    const auto tokens = budget.integer(-1, kMaxTokensLimit);
    if (tokens == 0) r.request.chat.thinking = false;
    r.request.generation.max_reasoning = tokens > 0 ? tokens : -1;
}

void read_mode(const Field& mode, Reader& r) {
    if (mode.string() != "chat" && mode.string() != "thinking") mode.refuse("expected chat or thinking");
    r.request.chat.thinking = mode.string() == "thinking";
}

void read_think(const Field& think, Reader& r) {
    think.is_string() || think.is_number() ? read_effort(think, r) : turn_on(think, r);
}

void read_type(const Field& type, Reader& r) {
    const std::string& name = type.string();
    if (name == "disabled" || name == "none" || name == "off")
        r.request.chat.thinking = false;
    else if (name == "enabled" || name == "on")
        r.request.chat.thinking = true;
    else if (name != "adaptive" && name != "auto")
        type.refuse("expected enabled, disabled, adaptive or auto");
    else if (r.if_asked)
        r.request.chat.thinking = true;
}

void read_object(const Field& object, Reader& r) { r.read(object, kInside); }

void read_switch_or_object(const Field& field, Reader& r) {
    if (field.is_boolean()) return turn_on(field, r);
    if (!field.is_object()) field.wrong("true, false or an object");
    r.read(field, kInside);
}

void read_thinking_object(const Field& thinking, Reader& r) {
    if (thinking.is_object() && thinking.object().empty())
        thinking["type"].string();  // says that it is missing
    read_switch_or_object(thinking, r);
}

void hide(const Field& hidden, Reader& r) { r.request.hide_reasoning = hidden.boolean(); }
void show(const Field& shown, Reader& r) { r.request.hide_reasoning = !shown.boolean(); }

void read_display(const Field& display, Reader& r) {
    if (display.string() != "omitted" && display.string() != "summarized")
        display.refuse("expected summarized or omitted");
    r.request.hide_reasoning = display.string() == "omitted";
}

void read_format(const Field& format, Reader& r) {
    const std::string& name = format.string();
    if (name == "hidden")
        r.request.hide_reasoning = true;
    else if (name != "parsed" && name != "auto" && name != "deepseek" && name != "deepseek-legacy")
        format.refuse("reasoning is shown apart (parsed, deepseek, auto) or not at all (hidden)");
}

// Whether the reasoning of earlier turns is left out.
void drop(const Field& dropped, Reader& r) { r.request.chat.drop_thinking = dropped.boolean(); }
void keep(const Field& kept, Reader& r) {
    if (kept.is_string() && kept.string() != "all") kept.refuse("expected all, true or false");
    r.request.chat.drop_thinking = !kept.is_string() && !kept.boolean();
}

void read_elsewhere(const Field&, Reader&) {}
void expect_true(const Field& field, Reader&) {
    if (!field.boolean()) field.refuse("not supported, expected true");
}

struct Word {
    std::string_view name;
    unsigned places;
    void (*read)(const Field&, Reader&);
};

// In the order in which they are read: of several that contradict each other the last one counts.
constexpr Word kWords[] = {
    {"output_config", kBody, read_output_config},
    {"effort", kBody, read_bare_effort},
    {"effort", kInside, read_effort},
    {"chat_template_kwargs", kBody, read_object},
    {"chat_template_args", kBody, read_object},
    {"reasoning_effort", kBoth, read_effort},
    {"thinking_level", kBoth, read_effort},
    {"thinking_mode", kBoth, read_mode},
    {"reasoning", kBoth, read_switch_or_object},
    {"enabled", kInside, turn_on},
    {"enable", kInside, turn_on},
    {"enable_thinking", kBoth, turn_on},
    {"enable_reasoning", kBoth, turn_on},
    {"disabled", kInside, turn_off},
    {"disable", kInside, turn_off},
    {"disable_thinking", kBoth, turn_off},
    {"disable_reasoning", kBoth, turn_off},
    {"think", kBoth, read_think},
    {"type", kInside, read_type},
    {"thinking", kBoth, read_thinking_object},
    {"thinking_config", kBoth, read_object},
    {"google", kBody, read_object},
    {"max_tokens", kInside, read_budget},
    {"budget_tokens", kInside, read_budget},
    {"budget", kInside, read_budget},
    {"thinking_budget", kBoth, read_budget},
    {"thinking_budget_tokens", kBoth, read_budget},
    {"thinking_token_budget", kBoth, read_budget},
    {"reasoning_budget", kBoth, read_budget},
    {"max_reasoning_tokens", kBoth, read_budget},
    {"reasoning_max_tokens", kBoth, read_budget},
    {"max_thinking_tokens", kBoth, read_budget},
    {"exclude", kInside, hide},
    {"display", kInside, read_display},
    {"include_thoughts", kInside, show},
    {"include_reasoning", kBoth, show},
    {"reasoning_format", kBoth, read_format},
    {"drop_thinking", kBoth, drop},
    {"clear_thinking", kBoth, drop},
    {"preserve_thinking", kBoth, keep},
    {"keep", kInside, keep},
    {"add_generation_prompt", kInside, expect_true},
    {"summary", kInside, read_elsewhere},
    {"generate_summary", kInside, read_elsewhere},
    {"context", kInside, read_elsewhere},
};

// An object about thinking has no members that are not understood. They may be nested as deep as
// the request.
void Reader::read(const Field& object, unsigned place) {
    std::vector<std::pair<const Word*, Field>> found;
    for (const auto& [name, value] : object.object().items()) {
        if (value.is_null()) continue;
        const std::string common = snake_case(name);
        const auto word = std::find_if(std::begin(kWords), std::end(kWords), [&](const Word& known) {
            return known.name == common && (known.places & place) != 0;
        });
        if (word != std::end(kWords))
            found.emplace_back(word, object.member(name, value));
        else if (place == kInside)
            object.member(name, value).refuse("not supported here");
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    // Who limits reasoning wants it, unless something says otherwise.
    for (const auto& [word, value] : found)
        if (place == kInside && word->read == read_budget && value.is_number() && value.json() > 0)
            request.chat.thinking = true;
    for (const auto& [word, value] : found) word->read(value, *this);
}

}  // namespace

void read_thinking(const Field& body, Request& request, bool if_asked) {
    if (if_asked) request.chat.thinking = false;
    Reader{request, if_asked}.read(body, kBody);
}

}  // namespace cachalot::server
