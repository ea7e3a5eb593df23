// What a request may say of tools: names that a prompt can hold, and parameters that are a JSON schema.
//
// Every dialect and the command line ask here, so that what one of them refuses none accepts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cachalot {

// Why the prompt cannot hold this name of a tool, as in "must not be empty"; empty if it can. A name stands
// between quotes within a tag: neither may end in it.
std::string_view problem_of_name(std::string_view name);

// Why no tool may be offered under this name; empty if one may: letters, digits and "_-.:/" are what the
// originals and real clients use.
std::string problem_of_tool_name(std::string_view name);

// Whether a tool of this type, of OpenAI, Anthropic or others, runs at a provider: agents list such tools for
// whatever server they talk to. environment, execution: where a shell and a search for tools are run, empty
// if the tool does not say.
bool runs_at_provider(std::string_view type, std::string_view environment, std::string_view execution);

// Why a tool of a type that is neither offered nor left out is refused: left out, the caller would wait for
// calls that never come. expected: the types that are offered.
std::string problem_of_tool_type(std::string_view type, std::string_view expected);

// Throws Error "{path}.properties.a.type: ..., in the tool 'NAME'" for the first keyword of `schema`, the
// parameters of a tool, whose value is of a type that JSON Schema does not have there. Keywords that nothing
// depends on may be anything, null is as good as absent. Linear; the schema must not be nested deeper than
// kMaxJsonDepth.
void check_parameters(const nlohmann::ordered_json& schema, std::string_view path, std::string_view tool);

}  // namespace cachalot
