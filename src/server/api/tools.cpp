#include "server/api/tools.h"

#include <algorithm>

#include "service/client_error.h"
#include "text/chat_json.h"
#include "text/tool_check.h"
#include "text/tool_namespace.h"

namespace cachalot::server {
namespace {

constexpr std::string_view kSeparator = "__";

// Throws ApiError.
void check_schema(const Field& schema, std::string_view tool) {
    try {
        check_parameters(schema.json(), schema.path(), tool);
    } catch (const Error& e) {
        throw ApiError{400, "invalid_request", e.what(), blamed_field(e.what())};
    }
}

}  // namespace

std::string ToolSet::joined(const std::string& name_space, const std::string& name) const {
    if (format_ == ChatFormat::v41) return qualified_name(name, name_space);
    if (name_space.empty()) return name;
    if (name_space.ends_with(kSeparator)) return name_space + name;
    return fmt::format("{}{}{}", name_space, kSeparator, name);
}

void ToolSet::add(ToolForm form, ordered_json function) {
    if (format_ == ChatFormat::v41) {
        if (const auto problem = problem_of_namespace(form.name, form.name_space); !problem.empty())
            throw ApiError(400, "invalid_request", "tools: " + problem, "tools");
        if (!form.name_space.empty()) form.name = split_name(form.name).name;
    }
    const std::string plain = joined(form.name_space, form.name);
    std::string name = plain;
    // Two tools of the client may not become one; the same tool twice is the client's affair.
    for (int i = 2; forms_.contains(name) && forms_.at(name) != form; ++i)
        name = fmt::format("{}_{}", plain, i);
    ordered_json named = {{"name", name}};
    named.update(function);
    functions_.push_back(std::move(named));
    forms_[name] = std::move(form);
}

ToolForm ToolSet::form(const std::string& prompt_name) const {
    const auto found = forms_.find(prompt_name);
    if (found != forms_.end()) return found->second;
    if (format_ != ChatFormat::v41) return {ToolForm::Kind::function, prompt_name, {}};
    const SplitName split = split_name(prompt_name);
    return {ToolForm::Kind::function, split.name, split.name_space};
}

std::string ToolSet::prompt_name(const std::string& name, const std::string& name_space) const {
    const auto plain = joined(name_space, name);
    const auto same = [&](const auto& entry) {
        return entry.second.name == name && entry.second.name_space == name_space;
    };
    if (const auto found = forms_.find(plain); found != forms_.end() && same(*found)) return plain;
    const auto found = std::find_if(forms_.begin(), forms_.end(), same);
    return found != forms_.end() ? found->first : plain;
}

void ToolSet::choose(const Field& name, const std::string& name_space, bool known, Request& request) const {
    const auto wanted = prompt_name(tool_name(name), name_space);
    if (!offers(wanted)) {
        if (is_left_out(name.string()))
            name.refuse("this tool runs at a provider, of which there is none here; it cannot be chosen");
        if (known) name.refuse("there is no tool of this name");
    }
    request.tool_choice = ToolChoice::named;
    request.named_tool = wanted;
}

void ToolSet::restrict_to(const Field& list, bool nested) {
    std::set<std::string> kept;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const Field entry = list[i];
        const std::string& type = entry["type"].string();
        if (type == "namespace") {
            for (const auto& [name, form] : forms_)
                if (form.name_space == entry["name"].string()) kept.insert(name);
            continue;
        }
        if (type != "function" && type != "custom") continue;  // runs elsewhere
        const Field name = nested ? entry[type.c_str()]["name"] : entry["name"];
        const auto wanted = prompt_name(tool_name(name), entry["namespace"].string_or(""));
        if (!offers(wanted)) name.refuse("there is no tool of this name");
        kept.insert(wanted);
    }
    std::erase_if(functions_,
                  [&](const ordered_json& f) { return !kept.contains(f["name"].get<std::string>()); });
    std::erase_if(forms_, [&](const auto& entry) { return !kept.contains(entry.first); });
}

std::string tool_name(const Field& name) {
    if (const auto problem = problem_of_tool_name(name.string()); !problem.empty()) name.refuse(problem);
    return name.string();
}

std::string call_name(const Field& name) {
    if (const auto problem = problem_of_name(name.string()); !problem.empty()) name.refuse(problem);
    return name.string();
}

void read_namespace(const Field& tool, const Field& function, ChatFormat format, ToolForm& form,
                    ordered_json& parts) {
    const Field given = tool["namespace"] ? tool["namespace"] : function["namespace"];
    if (format != ChatFormat::v41 || !given) return;
    const Field name = given.is_object() ? given["name"] : given;
    if (!name || name.string().empty()) return;
    form.name_space = tool_name(name);
    if (given.is_object()) describe_namespace(parts, given["description"].string_or(""));
}

void refuse_own_tools(const Field& message) {
    if (const Field tools = message["tools"]; tools && !(tools.is_array() && tools.size() == 0))
        tools.refuse("not supported: tools belong into the request itself");
    if (const Field format = message["response_format"])
        format.refuse("not supported: only messages of chat completions have one");
}

bool runs_at_provider(const Field& tool) {
    const Field environment = tool["environment"];
    const std::string& type = tool["type"].string();
    const bool is_shell = type == "shell", is_search = type == "tool_search";
    return cachalot::runs_at_provider(
        type, is_shell && environment ? environment["type"].string_or("") : std::string(),
        is_search ? tool["execution"].string_or("") : std::string());
}

void refuse_tool_type(const Field& type, std::string_view expected) {
    type.refuse(problem_of_tool_type(type.string(), expected));
}

ordered_json function_parts(const Field& function) {
    ordered_json parts = ordered_json::object();
    if (const Field description = function["description"]) parts["description"] = description.string();
    parts["parameters"] = {{"type", "object"}, {"properties", ordered_json::object()}};
    for (const char* name : {"inputSchema", "input_schema", "parameters"})
        if (const Field schema = function[name]) {
            check_schema(schema, function["name"].string_or(""));
            parts["parameters"] = schema.json();
        }
    return parts;
}

ordered_json custom_function(const Field& description, const Field& format) {
    std::string text = description.string_or("");
    if (format && format["type"].string() == "grammar") {
        const Field grammar = format["grammar"] ? format["grammar"] : format;
        text += fmt::format("{}The input follows this {} grammar:\n{}", text.empty() ? "" : "\n\n",
                            grammar["syntax"].string_or(""), grammar["definition"].string());
    } else if (format && format["type"].string() != "text") {
        format["type"].refuse("expected text or grammar");
    }
    ordered_json function = ordered_json::object();
    if (!text.empty()) function["description"] = text;
    function["parameters"] = {
        {"type", "object"},
        {"properties", {{"input", {{"type", "string"}, {"description", "The input as it is."}}}}},
        {"required", {"input"}}};
    return function;
}

std::string custom_arguments(const std::string& input) { return python_json({{"input", input}}); }

}  // namespace cachalot::server
