#include "server/api/responses_tools.h"

#include "text/tool_namespace.h"

namespace cachalot::server {
namespace {

ordered_json repeated_function(const Field& tool, const ordered_json& function) {
    return {{"type", "function"},
            {"name", tool["name"].json()},
            {"description", function.value("description", ordered_json())},
            {"parameters", function["parameters"]},
            {"strict", tool["strict"].boolean_or(false)}};
}

// What a group is about is told with the first of its tools.
void describe_group(const Field& group, ordered_json& function) {
    const Field description = group["description"];
    if (!description || description.string().empty()) return;
    std::string text = function.value("description", "");
    if (!text.empty()) text += "\n\n";
    text += fmt::format("Tools whose names begin with {}: {}", group["name"].string(), description.string());
    function["description"] = text;
}

class Reader {
  public:
    explicit Reader(ChatFormat format) : tools_{ToolSet(format)} {}

    ResponsesTools take() { return std::move(tools_); }

    void read(const Field& tool) {
        const std::string& type = tool["type"].string();
        if (type == "function" || type == "custom") {
            auto function = parts_of(tool);
            tools_.repeated.push_back(type == "function" ? repeated_function(tool, function) : tool.json());
            offer(tool, {}, std::move(function));
        } else if (type == "namespace") {
            read_group(tool);
        } else if (!runs_at_provider(tool)) {
            refuse_tool_type(tool["type"], "function, custom or namespace");
        } else {
            tools_.set.leave_out(type);
            if (const Field name = tool["name"]; name.is_string()) tools_.set.leave_out(name.string());
        }
    }

  private:
    static ordered_json parts_of(const Field& tool) {
        tool_name(tool["name"]);
        if (tool["type"].string() == "custom") return custom_function(tool["description"], tool["format"]);
        return function_parts(tool);
    }

    void offer(const Field& tool, const std::string& name_space, ordered_json function) {
        const bool custom = tool["type"].string() == "custom";
        tools_.set.add(
            {custom ? ToolForm::Kind::custom : ToolForm::Kind::function, tool["name"].string(), name_space},
            std::move(function));
    }

    void read_group(const Field& group) {
        const std::string name = tool_name(group["name"]);
        const Field list = group["tools"];
        for (std::size_t i = 0; list && i < list.size(); ++i) {
            const Field tool = list[i];
            const std::string& type = tool["type"].string();
            if (type != "function" && type != "custom") tool["type"].refuse("expected function or custom");
            auto function = parts_of(tool);
            if (tools_.set.format() == ChatFormat::v41)  // which was trained to be told with each
                describe_namespace(function, group["description"].string_or(""));
            else if (i == 0)
                describe_group(group, function);
            offer(tool, name, std::move(function));
        }
        tools_.repeated.push_back(group.json());
    }

    ResponsesTools tools_;
};

void read_mode(const Field& mode, const ToolSet& tools, Request& request) {
    if (mode.string() == "none") {
        request.tool_choice = ToolChoice::none;
    } else if (mode.string() == "required") {
        if (tools.functions().empty()) mode.refuse("there are no tools that the model could call");
        request.tool_choice = ToolChoice::required;
    } else if (mode.string() != "auto") {
        mode.refuse("expected auto, none or required");
    }
}

}  // namespace

ResponsesTools read_responses_tools(const Field& list, ChatFormat format) {
    Reader reader(format);
    for (std::size_t i = 0; list && i < list.size(); ++i) reader.read(list[i]);
    return reader.take();
}

void read_responses_tool_choice(const Field& choice, ToolSet& tools, Request& request) {
    if (!choice) return;
    Field mode = choice;
    if (choice.is_object()) {
        const Field type = choice["type"];
        for (const char* name : {"auto", "none", "required"})  // as chat's clients write them
            if (type.string() == name) return read_mode(type, tools, request);
        if (type.string() == "function" || type.string() == "custom")
            return tools.choose(choice["name"], choice["namespace"].string_or(""), true, request);
        if (type.string() != "allowed_tools")
            type.refuse(
                fmt::format("'{}' runs at a provider, of which there is none here; it cannot be chosen",
                            type.string().substr(0, 100)));
        mode = choice["mode"];
        mode.string();
        if (const Field list = choice["tools"]) tools.restrict_to(list, false);
    }
    read_mode(mode, tools, request);
}

}  // namespace cachalot::server
