#include "text/json_fit.h"

#include <cmath>
#include <optional>

#include "base/error.h"
#include "text/loose_json.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

constexpr int kMaxReferences = 16;
constexpr double kExactIntegers = 9007199254740992.0;  // 2^53: doubles below hold every integer

std::string_view trim(std::string_view text) {
    const std::size_t start = text.find_first_not_of(" \t\r\n");
    if (start == std::string_view::npos) return {};
    return text.substr(start, text.find_last_not_of(" \t\r\n") - start + 1);
}

std::optional<ordered_json> parsed(std::string_view text) {
    try {
        return parse_json(text, "value");
    } catch (const Error&) {
        return std::nullopt;
    }
}

// The schema that a reference leads to; `schema` itself if it is none.
const ordered_json& resolved(const ordered_json& schema, const ordered_json& root) {
    const ordered_json* at = &schema;
    for (int i = 0; i < kMaxReferences && at->is_object(); i++) {
        const auto reference = at->find("$ref");
        if (reference == at->end() || !reference->is_string()) break;
        const std::string& path = reference->get_ref<const std::string&>();
        if (!path.starts_with('#')) break;
        try {
            at = &root.at(ordered_json::json_pointer(path.substr(1)));
        } catch (const ordered_json::exception&) {
            break;
        }
    }
    return *at;
}

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

JsonTypes::Type type_of(const ordered_json& value) {
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

JsonTypes types_at(const ordered_json& schema, const ordered_json& root, int depth) {
    const ordered_json& at = resolved(schema, root);
    if (!at.is_object() || depth > kMaxReferences) return JsonTypes::any();
    const auto join = [&](const ordered_json& list, const auto& types) {
        JsonTypes all(0);
        for (const ordered_json& item : list) all = all | types(item);
        return list.empty() ? JsonTypes::any() : all;
    };
    JsonTypes found = JsonTypes::any();
    if (const auto type = at.find("type"); type != at.end()) {
        found = type->is_array() ? join(*type, type_named) : type_named(*type);
    } else if (const auto values = at.find("enum"); values != at.end() && values->is_array()) {
        found = join(*values, [](const ordered_json& value) { return JsonTypes(type_of(value)); });
    } else if (const auto value = at.find("const"); value != at.end()) {
        found = JsonTypes(type_of(*value));
    } else if (at.contains("properties")) {
        found = JsonTypes(JsonTypes::object);
    } else if (at.contains("items")) {
        found = JsonTypes(JsonTypes::array);
    } else {
        for (const char* key : {"anyOf", "oneOf", "allOf"}) {
            const auto list = at.find(key);
            if (list == at.end() || !list->is_array()) continue;
            if (std::string_view(key) != "allOf")
                return join(*list, [&](const ordered_json& s) { return types_at(s, root, depth + 1); });
            for (const ordered_json& s : *list)
                if (found.is_any()) found = types_at(s, root, depth + 1);
        }
    }
    const auto nullable = at.find("nullable");
    if (nullable != at.end() && *nullable == true) found = found | JsonTypes(JsonTypes::null);
    return found;
}

// `text` read as one of the types; nothing if it is none of them.
std::optional<ordered_json> read_as(std::string_view text, JsonTypes types) {
    text = trim(text);
    if (types.has(JsonTypes::boolean)) {
        if (text == "true" || text == "True") return true;
        if (text == "false" || text == "False") return false;
    }
    if (types.has(JsonTypes::null) && (text == "null" || text == "None")) return nullptr;
    const bool structure = text.starts_with('{') || text.starts_with('[');
    std::optional<std::string> json = structure ? mend_json(text) : std::string(text);
    std::optional<ordered_json> value = json ? parsed(*json) : std::nullopt;
    if (!value || value->is_string()) return std::nullopt;
    const JsonTypes::Type type = type_of(*value);
    if (types.has(type)) return value;
    const double number = value->is_number() ? value->get<double>() : 0.5;
    if (types.has(JsonTypes::integer) && std::abs(number) < kExactIntegers && number == std::floor(number))
        return static_cast<std::int64_t>(number);
    return std::nullopt;
}

const ordered_json& member_schema(const ordered_json& schema, const std::string& key) {
    static const ordered_json kAnything = true;
    if (const auto all = schema.find("properties"); all != schema.end() && all->is_object())
        if (const auto found = all->find(key); found != all->end()) return *found;
    const auto others = schema.find("additionalProperties");
    return others != schema.end() && others->is_object() ? *others : kAnything;
}

// Makes the value fit, and says whether that changed it.
bool fit(ordered_json& value, const ordered_json& schema, const ordered_json& root, int depth) {
    if (depth > kMaxJsonDepth) return false;
    const JsonTypes types = types_at(schema, root, 0);
    bool changed = false;
    if (!types.has(type_of(value))) {
        std::optional<ordered_json> other;
        if (value.is_string()) {
            other = read_as(value.get_ref<const std::string&>(), types);
        } else if (types.has(JsonTypes::boolean) && (value == 0 || value == 1)) {
            other = value == 1;
        } else if (value.is_number_float() && types.has(JsonTypes::integer)) {
            other = read_as(value.dump(), types);
        } else if (types.has(JsonTypes::string) && !value.is_null()) {
            other = python_json(value);
        }
        if (!other) return false;
        value = std::move(*other);
        changed = true;
    }
    const ordered_json& at = resolved(schema, root);
    if (!at.is_object()) return changed;
    if (value.is_array() && at.contains("items"))
        for (ordered_json& item : value) changed |= fit(item, at["items"], root, depth + 1);
    if (value.is_object())
        for (auto& [key, member] : value.items())
            changed |= fit(member, member_schema(at, key), root, depth + 1);
    return changed;
}

}  // namespace

JsonTypes types_of(const ordered_json& schema, const ordered_json& root) { return types_at(schema, root, 0); }

std::string fit_json(const ToolArgument& argument, const ordered_json& schema, const ordered_json& root,
                     bool* changed) {
    const JsonTypes types = types_of(schema, root);
    std::string as_it_is = argument.is_string ? json_string(argument.value) : argument.value;
    if (argument.is_string && types.has(JsonTypes::string)) return as_it_is;
    std::optional<ordered_json> value =
        argument.is_string ? ordered_json(argument.value) : parsed(argument.value);
    if (!value) return as_it_is;
    // As a string the value keeps the spelling that it has: 1.50 is "1.50".
    const bool wants_text = !types.has(type_of(*value)) && types.has(JsonTypes::string) && !value->is_null();
    if (wants_text && !argument.is_string && !read_as(argument.value, types)) {
        if (changed) *changed = true;
        return json_string(trim(argument.value));
    }
    if (!fit(*value, schema, root, 0)) return as_it_is;
    if (changed) *changed = true;
    return python_json(*value);
}

}  // namespace cachalot
