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
// the tool's one parameter. Nothing if it cannot be used: what begins like an object, an array or a tag and
// is not read as one is no bare text, since it would be run as it stands. `tool` is null if its schema is not
// known: then only objects can be used.
std::optional<std::vector<ToolArgument>> read_arguments(std::string_view text, const ToolSchema* tool);

// The arguments that a parameter holds which the tool does not have; nothing if it is none of a wrapper.
// `is_string` does not matter: both have been seen.
std::optional<std::vector<ToolArgument>> unwrap_parameter(std::string_view name, std::string_view text,
                                                          const ToolSchema& tool);

// The arguments that a parameter of the tool holds under its own name, as `command` does with
// {"command": "ls"}: the schema wants a string, and the object has nothing but parameters, this one and all
// that are required. Nothing if it is an ordinary value.
std::optional<std::vector<ToolArgument>> unwrap_own(std::string_view name, std::string_view text,
                                                    const ToolSchema& tool);

// Whether a value that begins like `text` may turn out to be one of those.
bool may_wrap_own(std::string_view text, const ToolSchema& tool);

// The arguments of a call in a client's history, which may be what some model wrote: nothing at all and null
// are no arguments, an object is its members (unwrapped where the tool has no parameter of the wrapper's
// name), anything else as read_arguments has it. Nothing if it cannot be used.
std::optional<std::vector<ToolArgument>> arguments_of_history(std::string_view text, const ToolSchema* tool);

// The arguments of a call in a client's history as V4.1 was trained to see them: the members of an object, or
// of one whose JSON is in a string; anything else is one text `arguments`, but for an empty text, which is
// none.
std::vector<ToolArgument> arguments_or_text(std::string_view text);

// Whether the text is a JSON object, or a string that holds one.
bool is_object_text(std::string_view text);

// Whether the name is one that wraps arguments: "arguments", "input", ...
bool is_wrapper_name(std::string_view name);

// Calls that are written as JSON: {"name": "f", "arguments": {...}}, one behind the other, or a list. Nothing
// if a name or the arguments are missing.
struct JsonCall {
    std::string name, arguments;  // the JSON text of an object, or some other text
};
std::vector<JsonCall> read_json_calls(std::string_view text);

}  // namespace cachalot
