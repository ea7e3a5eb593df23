// Arguments of a call that are not written as parameters.
//
// Models write all arguments as one JSON object where parameters should be, or that object as the value of
// one parameter called "arguments", "input" and the like, perhaps as a string, perhaps both several times
// over, or the one argument of a tool without its name. Clients have such texts in their history, too. With
// the tool's schema at hand all of them can be told from what they resemble: a tool may have a parameter
// "arguments".
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "text/chat_json.h"
#include "text/tool_schema.h"

namespace cachalot {

// The arguments that `text` means in their place: the members of an object, unwrapped; else a bare value of
// the tool's one parameter. Nothing if it cannot be used. `tool` is null if its schema is not known: then
// only objects can.
std::optional<std::vector<ToolArgument>> read_arguments(std::string_view text, const ToolSchema* tool);

// The arguments that a parameter holds which the tool does not have; nothing if it is none of a wrapper.
// `is_string` does not matter: both have been seen.
std::optional<std::vector<ToolArgument>> unwrap_parameter(std::string_view name, std::string_view text,
                                                          const ToolSchema& tool);

// The arguments of a call in a client's history, which may be what some model wrote: nothing at all and null
// are no arguments, an object is its members (unwrapped where the tool has no parameter of the wrapper's
// name), anything else as read_arguments has it. Nothing if it cannot be used.
std::optional<std::vector<ToolArgument>> arguments_of_history(std::string_view text, const ToolSchema* tool);

// Whether the text is a JSON object, or a string that holds one.
bool is_object_text(std::string_view text);

// Whether the name is one that wraps arguments: "arguments", "input", ...
bool is_wrapper_name(std::string_view name);

// A call that is written as JSON: {"name": "f", "arguments": {...}}, or a list of them. Nothing if a name or
// the arguments are missing.
struct JsonCall {
    std::string name, arguments;  // the JSON text of an object, or some other text
};
std::vector<JsonCall> read_json_calls(std::string_view text);

}  // namespace cachalot
