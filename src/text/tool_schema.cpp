#include "text/tool_schema.h"

#include <algorithm>

#include "base/error.h"
#include "text/json_fit.h"

namespace cachalot {

using nlohmann::ordered_json;

std::string name_letters(std::string_view name) {
    std::string letters;
    for (const char c : name) {
        if (c >= 'A' && c <= 'Z') {
            letters += static_cast<char>(c | 0x20);
        } else if (c != '_' && c != '-' && c != ' ' && c != '.') {
            letters += c;
        }
    }
    return letters;
}

ToolSchema::ToolSchema(const ordered_json& function) {
    if (!function.is_object()) return;
    if (const auto name = function.find("name"); name != function.end() && name->is_string()) name_ = *name;
    const auto parameters = function.find("parameters");
    takes_nothing_ = parameters == function.end() || parameters->is_null();
    if (takes_nothing_ || !parameters->is_object()) return;
    schema_ = *parameters;
    const auto properties = schema_.find("properties");
    if (properties == schema_.end() || !properties->is_object()) return;
    takes_nothing_ = properties->empty();
    compiled_.emplace(schema_);
    for (const auto& property : properties->get_ref<const ordered_json::object_t&>()) {
        const std::string& name = property.first;
        by_name_.try_emplace(name, parameters_.size());
        // Of two whose names differ in their spelling only neither is found by the letters.
        const auto [found, fresh] = by_letters_.try_emplace(name_letters(name), parameters_.size());
        if (!fresh) found->second = properties->size();
        parameters_.push_back({name, &compiled_->root().member(name), false});
    }
    const auto required = schema_.find("required");
    if (required == schema_.end() || !required->is_array()) return;
    for (const ordered_json& name : *required) {
        if (!name.is_string()) continue;
        const auto found = by_name_.find(name.get<std::string>());
        if (found == by_name_.end() || std::exchange(parameters_[found->second].required, true)) continue;
        required_++;
    }
}

const ToolSchema::Parameter* ToolSchema::parameter(std::string_view name) const {
    if (const auto found = by_name_.find(std::string(name)); found != by_name_.end())
        return &parameters_[found->second];
    const auto found = by_letters_.find(name_letters(name));
    if (found == by_letters_.end() || found->second == parameters_.size()) return nullptr;
    return &parameters_[found->second];
}

const ToolSchema::Parameter* ToolSchema::only() const {
    if (parameters_.size() == 1) return &parameters_.front();
    if (required_ != 1) return nullptr;
    return &*std::find_if(parameters_.begin(), parameters_.end(),
                          [](const Parameter& p) { return p.required; });
}

bool ToolSchema::takes_string(const Parameter& parameter) const {
    return parameter.schema->types.has(JsonTypes::string);
}

std::string ToolSchema::fitted(const Parameter& parameter, const ToolArgument& argument,
                               bool* changed) const {
    return fit_json(argument, *parameter.schema, changed);
}

bool ToolSchema::fits_text(const Parameter& parameter, std::string_view text) const {
    bool changed = false;
    if (takes_string(parameter)) return true;
    fit_json({parameter.name, true, std::string(text)}, *parameter.schema, &changed);
    return changed;
}

ToolSchemas::ToolSchemas(const Conversation& conversation, bool callable) : callable_(callable) {
    for (const Message& message : conversation.messages)
        for (const ordered_json& tool : message.tools) add(tool);
    for (const ordered_json& tool : conversation.tools) add(tool);
}

void ToolSchemas::add(const ordered_json& function) {
    const ToolSchema& tool = tools_.emplace_back(function);
    by_name_[tool.name()] = &tool;
    const auto [found, fresh] = by_letters_.try_emplace(name_letters(tool.name()), &tool);
    if (!fresh && found->second && found->second->name() != tool.name()) found->second = nullptr;
}

const ToolSchema* ToolSchemas::find(std::string_view name) const {
    if (const auto found = by_name_.find(std::string(name)); found != by_name_.end()) return found->second;
    const auto by_letters = [&](std::string_view spelt) -> const ToolSchema* {
        const auto found = by_letters_.find(name_letters(spelt));
        return found == by_letters_.end() ? nullptr : found->second;
    };
    if (const ToolSchema* tool = by_letters(name)) return tool;
    const std::size_t prefix = name.find_last_of(".:/");
    return prefix == std::string_view::npos ? nullptr : by_letters(name.substr(prefix + 1));
}

}  // namespace cachalot
