// JSON values made to fit a JSON schema.
#pragma once

#include <string>

#include "text/chat_json.h"
#include "text/compiled_schema.h"

namespace cachalot {

// The JSON text of the argument's value in a type that the schema admits, if nothing is lost by it, else as
// it is: "5" as 5, 5.0 as 5, "true" as true, the text of an array as that array; where a string is wanted, a
// number with all its digits. Within arrays and objects, too. `changed` is set if the value had another type.
std::string fit_json(const ToolArgument& argument, const SchemaNode& schema, bool* changed);

}  // namespace cachalot
