// JSON values made to fit a JSON schema.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "text/chat_json.h"

namespace cachalot {

// A set of JSON types.
class JsonTypes {
  public:
    enum Type : unsigned {
        null = 1,
        boolean = 2,
        integer = 4,
        number = 8,  // also integers
        string = 16,
        array = 32,
        object = 64,
    };
    constexpr explicit JsonTypes(unsigned bits) : bits_(bits) {}
    static constexpr JsonTypes any() { return JsonTypes(127); }

    constexpr bool has(Type type) const {
        return (bits_ & type) != 0 || (type == integer && (bits_ & number) != 0);
    }
    constexpr bool is_any() const { return bits_ == 127; }
    constexpr JsonTypes operator|(JsonTypes other) const { return JsonTypes(bits_ | other.bits_); }

  private:
    unsigned bits_;
};

// What `schema` admits, by "type", "enum", "const", "anyOf" and the like; `root` is the schema that its
// references are about. All types if it does not say.
JsonTypes types_of(const nlohmann::ordered_json& schema, const nlohmann::ordered_json& root);

// The JSON text of the argument's value in a type that the schema admits, if nothing is lost by it, else as
// it is: "5" as 5, 5.0 as 5, "true" as true, the text of an array as that array; where a string is wanted, a
// number with all its digits. Within arrays and objects, too. `changed` is set if the value had another type.
std::string fit_json(const ToolArgument& argument, const nlohmann::ordered_json& schema,
                     const nlohmann::ordered_json& root, bool* changed);

}  // namespace cachalot
