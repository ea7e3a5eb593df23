// Groups of tools: V4.1 knows a tool of one as "namespace::name", and has its description told with each.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cachalot {

inline constexpr std::string_view kNamespaceSeparator = "::";

// What is wrong with the two together, empty if nothing: more than one separator in the name, one in the
// namespace, or a name that says another namespace. Either may be without.
std::string problem_of_namespace(std::string_view name, std::string_view name_space);

// "namespace::name"; the name alone without a namespace, or if it says it already.
std::string qualified_name(std::string_view name, std::string_view name_space);

struct SplitName {
    std::string name_space, name;
};

// The other way round. A name that is none of a namespace (no separator, several, nothing on one side) stays
// whole.
SplitName split_name(std::string_view qualified);

// Tells what the namespace is about before what the tool is, where it is about anything.
void describe_namespace(nlohmann::ordered_json& function, const std::string& description);

}  // namespace cachalot
