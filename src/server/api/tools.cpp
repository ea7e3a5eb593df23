#include "server/api/tools.h"

#include <algorithm>

#include "text/chat_json.h"

namespace cachalot::server {
namespace {

constexpr std::string_view kSeparator = "__";

std::string joined(const std::string& name_space, const std::string& name) {
    if (name_space.empty()) return name;
    if (name_space.ends_with(kSeparator)) return name_space + name;
    return fmt::format("{}{}{}", name_space, kSeparator, name);
}

}  // namespace

void ToolSet::add(ToolForm form, ordered_json function) {
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
    return found != forms_.end() ? found->second : ToolForm{ToolForm::Kind::function, prompt_name, {}};
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
    const auto wanted = prompt_name(name.string(), name_space);
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
        const auto wanted = prompt_name(name.string(), entry["namespace"].string_or(""));
        if (!offers(wanted)) name.refuse("there is no tool of this name");
        kept.insert(wanted);
    }
    std::erase_if(functions_,
                  [&](const ordered_json& f) { return !kept.contains(f["name"].get<std::string>()); });
    std::erase_if(forms_, [&](const auto& entry) { return !kept.contains(entry.first); });
}

ordered_json function_parts(const Field& description, const Field& parameters) {
    ordered_json function = ordered_json::object();
    if (description) function["description"] = description.string();
    function["parameters"] = parameters
                                 ? ordered_json(parameters.object())
                                 : ordered_json{{"type", "object"}, {"properties", ordered_json::object()}};
    return function;
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
