#include "text/tool_namespace.h"

#include <fmt/format.h>

namespace cachalot {

std::string problem_of_namespace(std::string_view name, std::string_view name_space) {
    const std::size_t at = name.find(kNamespaceSeparator);
    if (name_space.find(kNamespaceSeparator) != std::string_view::npos)
        return fmt::format("the namespace '{}' has '{}' in it", name_space, kNamespaceSeparator);
    if (at == std::string_view::npos) return {};
    if (name.find(kNamespaceSeparator, at + 1) != std::string_view::npos)
        return fmt::format("'{}' has more than one '{}'", name, kNamespaceSeparator);
    if (at == 0 || at + kNamespaceSeparator.size() == name.size())
        return fmt::format("'{}' needs a name on both sides of '{}'", name, kNamespaceSeparator);
    if (!name_space.empty() && name.substr(0, at) != name_space)
        return fmt::format("'{}' is not of the namespace '{}'", name, name_space);
    return {};
}

std::string qualified_name(std::string_view name, std::string_view name_space) {
    if (name_space.empty() || name.find(kNamespaceSeparator) != std::string_view::npos)
        return std::string(name);
    return fmt::format("{}{}{}", name_space, kNamespaceSeparator, name);
}

SplitName split_name(std::string_view qualified) {
    const std::size_t at = qualified.find(kNamespaceSeparator);
    if (at == std::string_view::npos || !problem_of_namespace(qualified, {}).empty())
        return {{}, std::string(qualified)};
    return {std::string(qualified.substr(0, at)),
            std::string(qualified.substr(at + kNamespaceSeparator.size()))};
}

void describe_namespace(nlohmann::ordered_json& function, const std::string& description) {
    if (description.empty()) return;
    const auto own = function.find("description");
    const bool has = own != function.end() && own->is_string();
    function["description"] = description + "\n" + (has ? own->get<std::string>() : std::string());
}

}  // namespace cachalot
