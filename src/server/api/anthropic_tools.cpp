#include "server/api/anthropic_tools.h"

namespace cachalot::server {
namespace {

// Parameters of tools whose definition is a name and a date, as JSON; the client knows how to run them.
struct Defined {
    std::string_view type;  // what the type begins with
    const char* description;
    const char* properties;
    const char* required;
};

// clang-format off
constexpr const char* kEdits = "Views, creates and edits text files.";

// The editors of Claude 3.5 to 3.7 insert `new_str` and can undo.
constexpr const char* kOldEditor = R"({
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "undo_edit"]},
        "path": {"type": "string", "description": "The file or folder."},
        "file_text": {"type": "string", "description": "create: the content of the file."},
        "old_str": {"type": "string", "description": "str_replace: the text to replace, which occurs once."},
        "new_str": {"type": "string", "description": "str_replace, insert: the new text."},
        "insert_line": {"type": "integer", "description": "insert: the line after which the text is put, 0 for the beginning."},
        "view_range": {"type": "array", "items": {"type": "integer"}, "description": "view: first and last line, counted from 1; -1 is the end."}})";

constexpr Defined kDefined[] = {
    {"bash_", "Runs a command in a bash session that stays open between calls. Returns what it prints.", R"({
        "command": {"type": "string", "description": "The command to run. Needed unless the session is restarted."},
        "restart": {"type": "boolean", "description": "True starts the session anew."}})", "[]"},
    {"text_editor_2024", kEdits, kOldEditor, R"(["command", "path"])"},
    {"text_editor_20250124", kEdits, kOldEditor, R"(["command", "path"])"},
    {"text_editor_", kEdits, R"({
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
        "path": {"type": "string", "description": "The file or folder."},
        "file_text": {"type": "string", "description": "create: the content of the file."},
        "old_str": {"type": "string", "description": "str_replace: the text to replace, which occurs once."},
        "new_str": {"type": "string", "description": "str_replace: the text in its place."},
        "insert_line": {"type": "integer", "description": "insert: the line after which the text is put, 0 for the beginning."},
        "insert_text": {"type": "string", "description": "insert: the text."},
        "view_range": {"type": "array", "items": {"type": "integer"}, "description": "view: first and last line, counted from 1; -1 is the end."}})",
        R"(["command", "path"])"},
    {"memory_", "Keeps notes in files below /memories, which outlive the conversation. Look at them before a task.", R"({
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
        "path": {"type": "string", "description": "The file or folder, below /memories. Not for rename."},
        "file_text": {"type": "string", "description": "create: the content of the file."},
        "old_str": {"type": "string", "description": "str_replace: the text to replace, which occurs once."},
        "new_str": {"type": "string", "description": "str_replace: the text in its place."},
        "insert_line": {"type": "integer", "description": "insert: the line after which the text is put, 0 for the beginning."},
        "insert_text": {"type": "string", "description": "insert: the text."},
        "old_path": {"type": "string", "description": "rename: the file or folder."},
        "new_path": {"type": "string", "description": "rename: its new name."},
        "view_range": {"type": "array", "items": {"type": "integer"}, "description": "view: first and last line, counted from 1; -1 is the end."}})",
        R"(["command"])"},
};
// clang-format on

const Defined* find_defined(const std::string& type) {
    for (const Defined& tool : kDefined)
        if (type.starts_with(tool.type)) return &tool;
    return nullptr;
}

ordered_json parts_of(const Defined& tool) {
    return {{"description", tool.description},
            {"parameters",
             {{"type", "object"},
              {"properties", ordered_json::parse(tool.properties)},
              {"required", ordered_json::parse(tool.required)}}}};
}

}  // namespace

ToolSet read_anthropic_tools(const Field& list, ChatFormat format) {
    ToolSet tools(format);
    for (std::size_t i = 0; list && i < list.size(); ++i) {
        const Field tool = list[i];
        const std::string type = tool["type"].string_or("custom");
        const Field name = tool["name"];
        tool["strict"].boolean_or(false);
        if (type == "custom") {
            tool["input_schema"].object();
            tools.add({ToolForm::Kind::function, tool_name(name), {}}, function_parts(tool));
        } else if (type == "function") {  // OpenAI's form, also with its members at the top
            const Field function = tool["function"] ? tool["function"] : tool;
            tools.add({ToolForm::Kind::function, tool_name(function["name"]), {}}, function_parts(function));
        } else if (const Defined* defined = find_defined(type)) {
            tools.add({ToolForm::Kind::function, tool_name(name), {}}, parts_of(*defined));
        } else if (type.starts_with("computer_")) {
            tool["type"].refuse("a computer cannot be used: the model does not read images");
        } else if (!runs_at_provider(tool)) {
            refuse_tool_type(tool["type"], "custom, or one of Anthropic's types");
        } else {
            tools.leave_out(name.string_or(type));
        }
    }
    return tools;
}

void read_anthropic_tool_choice(const Field& choice, const ToolSet& tools, Request& request) {
    if (!choice) return;
    const std::string& type = choice["type"].string();
    if (type == "any") {
        if (tools.functions().empty()) choice.refuse("there are no tools that the model could call");
        request.tool_choice = ToolChoice::required;
    } else if (type == "none") {
        request.tool_choice = ToolChoice::none;
    } else if (type == "tool") {
        tools.choose(choice["name"], {}, true, request);
    } else if (type != "auto") {
        choice["type"].refuse("expected auto, any, tool or none");
    }
    request.parallel_tool_calls = !choice["disable_parallel_tool_use"].boolean_or(false);
}

}  // namespace cachalot::server
