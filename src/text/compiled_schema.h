// A JSON schema, as far as values are made to fit it, read once.
//
// Schemas come from clients, so a node may refer to itself, or four times to one that does the same, and a
// value may meet a node once for each of its items. Therefore every node is looked at once, and what a value
// meets is a lookup.
#pragma once

#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

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

JsonTypes::Type json_type(const nlohmann::ordered_json& value);

// References are followed: a node is never one itself.
struct SchemaNode {
    // What is admitted, by "type", "enum", "const", "anyOf" and the like. All types if the schema does not
    // say.
    JsonTypes types = JsonTypes::any();
    const SchemaNode* items = nullptr;  // null: anything
    const SchemaNode* other_members = nullptr;
    std::map<std::string_view, const SchemaNode*> members;

    // Of the member `key`; the schema of anything if none is given.
    const SchemaNode& member(std::string_view key) const;
};

class CompiledSchema {
  public:
    // `schema` is also what its references are about. It has to stay where it is. Linear in its size, but for
    // sorting.
    explicit CompiledSchema(const nlohmann::ordered_json& schema);
    CompiledSchema(const CompiledSchema&) = delete;  // nodes point at each other
    CompiledSchema& operator=(const CompiledSchema&) = delete;

    // The schema itself. A reference at its top is not followed.
    const SchemaNode& root() const { return *root_; }

  private:
    std::deque<SchemaNode> nodes_;
    const SchemaNode* root_;
};

}  // namespace cachalot
