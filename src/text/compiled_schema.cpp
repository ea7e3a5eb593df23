#include "text/compiled_schema.h"

#include <charconv>
#include <string>
#include <utility>
#include <vector>

namespace cachalot {

using nlohmann::ordered_json;

namespace {

constexpr int kMaxReferences = 16;  // one behind the other, and so with alternatives

JsonTypes type_named(const ordered_json& name) {
    if (!name.is_string()) return JsonTypes::any();
    const std::string& text = name.get_ref<const std::string&>();
    if (text == "null") return JsonTypes(JsonTypes::null);
    if (text == "boolean") return JsonTypes(JsonTypes::boolean);
    if (text == "integer") return JsonTypes(JsonTypes::integer);
    if (text == "number") return JsonTypes(JsonTypes::number);
    if (text == "string") return JsonTypes(JsonTypes::string);
    if (text == "array") return JsonTypes(JsonTypes::array);
    if (text == "object") return JsonTypes(JsonTypes::object);
    return JsonTypes::any();
}

class Compiler {
  public:
    Compiler(const ordered_json& root, std::deque<SchemaNode>& nodes) : root_(root), nodes_(nodes) {}

    const SchemaNode* compile() {
        const SchemaNode* root = node_at(root_);
        while (!waiting_.empty()) {
            const auto [schema, node] = waiting_.back();
            waiting_.pop_back();
            fill(*node, *schema);
        }
        for (auto& [schema, node] : known_) node->types = types_at(*schema, 0);
        return root;
    }

  private:
    using Members = std::map<std::string_view, const ordered_json*>;

    const SchemaNode* node_of(const ordered_json& schema) { return node_at(resolved(schema)); }

    const SchemaNode* node_at(const ordered_json& schema) {
        const auto [found, fresh] = known_.try_emplace(&schema, nullptr);
        if (fresh) {
            found->second = &nodes_.emplace_back();
            waiting_.emplace_back(&schema, found->second);
        }
        return found->second;
    }

    void fill(SchemaNode& node, const ordered_json& schema) {
        if (!schema.is_object()) return;
        if (const auto items = schema.find("items"); items != schema.end()) node.items = node_of(*items);
        const auto others = schema.find("additionalProperties");
        if (others != schema.end() && others->is_object()) node.other_members = node_of(*others);
        const auto members = schema.find("properties");
        if (members == schema.end() || !members->is_object()) return;
        for (const auto& [name, member] : members->get_ref<const ordered_json::object_t&>())
            node.members.emplace(name, node_of(member));
    }

    // ---- References

    const ordered_json& resolved(const ordered_json& schema) {
        const ordered_json* at = &schema;
        for (int i = 0; i < kMaxReferences; i++) {
            const ordered_json* next = target(*at);
            if (!next) break;
            at = next;
        }
        return *at;
    }

    // What a reference leads to; null if `schema` is none.
    const ordered_json* target(const ordered_json& schema) {
        if (!schema.is_object()) return nullptr;
        const auto [found, fresh] = targets_.try_emplace(&schema, nullptr);
        if (!fresh) return found->second;
        const auto reference = schema.find("$ref");
        if (reference == schema.end() || !reference->is_string()) return nullptr;
        return found->second = pointed_at(reference->get_ref<const std::string&>());
    }

    const ordered_json* pointed_at(const std::string& path) {
        if (!path.starts_with('#')) return nullptr;
        std::vector<std::string> steps;
        try {
            for (ordered_json::json_pointer pointer(path.substr(1)); !pointer.empty(); pointer.pop_back())
                steps.push_back(pointer.back());
        } catch (const ordered_json::exception&) {
            return nullptr;
        }
        const ordered_json* at = &root_;
        for (; at && !steps.empty(); steps.pop_back()) at = child(*at, steps.back());
        return at;
    }

    const ordered_json* child(const ordered_json& parent, const std::string& name) {
        if (parent.is_array()) {
            std::size_t index = 0;
            const char* end = name.data() + name.size();
            const auto [stop, error] = std::from_chars(name.data(), end, index);
            return error == std::errc() && stop == end && index < parent.size() ? &parent[index] : nullptr;
        }
        if (!parent.is_object()) return nullptr;
        const auto [members, fresh] = members_.try_emplace(&parent);
        if (fresh)
            for (const auto& [key, value] : parent.get_ref<const ordered_json::object_t&>())
                members->second.emplace(key, &value);
        const auto found = members->second.find(name);
        return found == members->second.end() ? nullptr : found->second;
    }

    // ---- Types

    // Of a node that is reached again from itself, and beyond the limit of depth, anything goes.
    JsonTypes types_at(const ordered_json& schema, int depth) {
        const ordered_json& at = resolved(schema);
        if (!at.is_object() || depth > kMaxReferences) return JsonTypes::any();
        const auto [found, fresh] = types_.try_emplace(&at, JsonTypes::any());
        return fresh ? found->second = types_said(at, depth) : found->second;
    }

    template <class Types>
    static JsonTypes join(const ordered_json& list, const Types& types) {
        JsonTypes all(0);
        for (const ordered_json& item : list) all = all | types(item);
        return list.empty() ? JsonTypes::any() : all;
    }

    JsonTypes types_said(const ordered_json& at, int depth) {
        JsonTypes found = JsonTypes::any();
        if (const auto type = at.find("type"); type != at.end()) {
            found = type->is_array() ? join(*type, type_named) : type_named(*type);
        } else if (const auto values = at.find("enum"); values != at.end() && values->is_array()) {
            found = join(*values, [](const ordered_json& value) { return JsonTypes(json_type(value)); });
        } else if (const auto value = at.find("const"); value != at.end()) {
            found = JsonTypes(json_type(*value));
        } else if (at.contains("properties")) {
            found = JsonTypes(JsonTypes::object);
        } else if (at.contains("items")) {
            found = JsonTypes(JsonTypes::array);
        } else {
            found = types_of_alternatives(at, depth);
        }
        const auto nullable = at.find("nullable");
        if (nullable != at.end() && *nullable == true) found = found | JsonTypes(JsonTypes::null);
        return found;
    }

    JsonTypes types_of_alternatives(const ordered_json& at, int depth) {
        const auto types = [&](const ordered_json& schema) { return types_at(schema, depth + 1); };
        for (const char* key : {"anyOf", "oneOf"})
            if (const auto list = at.find(key); list != at.end() && list->is_array())
                return join(*list, types);
        JsonTypes found = JsonTypes::any();
        if (const auto list = at.find("allOf"); list != at.end() && list->is_array())
            for (const ordered_json& schema : *list)
                if (found.is_any()) found = types(schema);
        return found;
    }

    const ordered_json& root_;
    std::deque<SchemaNode>& nodes_;
    std::map<const ordered_json*, SchemaNode*> known_;
    std::vector<std::pair<const ordered_json*, SchemaNode*>> waiting_;
    std::map<const ordered_json*, const ordered_json*> targets_;
    std::map<const ordered_json*, Members> members_;  // of objects that references lead through
    std::map<const ordered_json*, JsonTypes> types_;
};

}  // namespace

JsonTypes::Type json_type(const ordered_json& value) {
    switch (value.type()) {
        case ordered_json::value_t::null: return JsonTypes::null;
        case ordered_json::value_t::boolean: return JsonTypes::boolean;
        case ordered_json::value_t::string: return JsonTypes::string;
        case ordered_json::value_t::array: return JsonTypes::array;
        case ordered_json::value_t::object: return JsonTypes::object;
        case ordered_json::value_t::number_float: return JsonTypes::number;
        default: return JsonTypes::integer;
    }
}

const SchemaNode& SchemaNode::member(std::string_view key) const {
    static const SchemaNode kAnything;
    if (const auto found = members.find(key); found != members.end()) return *found->second;
    return other_members ? *other_members : kAnything;
}

CompiledSchema::CompiledSchema(const ordered_json& schema) : root_(Compiler(schema, nodes_).compile()) {}

}  // namespace cachalot
