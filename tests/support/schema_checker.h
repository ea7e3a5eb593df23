// Whether a JSON value is what a schema says, for the words that tests use. It knows nothing of grammars.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace cachalot::test {

class SchemaChecker {
  public:
    using Json = nlohmann::ordered_json;

    explicit SchemaChecker(const Json& schema) : root_(schema) {}

    // Empty: it is. Else what is wrong and where.
    std::string problem(const Json& value) const { return check(value, root_, "$"); }

  private:
    static bool is_of(const Json& value, const std::string& type) {
        if (type == "object") return value.is_object();
        if (type == "array") return value.is_array();
        if (type == "string") return value.is_string();
        if (type == "boolean") return value.is_boolean();
        if (type == "null") return value.is_null();
        if (type == "number") return value.is_number();
        if (type == "integer") return value.is_number_integer();
        throw std::runtime_error("the test's schema has the type " + type);
    }

    static bool is_of_any(const Json& value, const Json& types) {
        if (types.is_string()) return is_of(value, types.get<std::string>());
        return std::any_of(types.begin(), types.end(),
                           [&](const Json& type) { return is_of(value, type.get<std::string>()); });
    }

    static std::size_t letters(const std::string& text) {
        return static_cast<std::size_t>(
            std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
    }

    std::string check(const Json& value, const Json& schema, const std::string& at) const {
        for (const auto& [word, said] : schema.items())
            if (const auto wrong = check_word(value, schema, word, said, at); !wrong.empty()) return wrong;
        return {};
    }

    std::string check_word(const Json& value, const Json& schema, const std::string& word, const Json& said,
                           const std::string& at) const {
        const auto unless = [&](bool holds) {
            return holds ? std::string() : at + ": " + value.dump() + " against " + word + " " + said.dump();
        };
        if (word == "type") return unless(is_of_any(value, said));
        if (word == "const") return unless(value == said);
        if (word == "enum") return unless(std::find(said.begin(), said.end(), value) != said.end());
        if (word == "minimum") return unless(!value.is_number() || value >= said);
        if (word == "maximum") return unless(!value.is_number() || value <= said);
        if (word == "minLength") return unless(!value.is_string() || letters(value) >= said);
        if (word == "maxLength") return unless(!value.is_string() || letters(value) <= said);
        if (word == "minItems") return unless(!value.is_array() || value.size() >= said);
        if (word == "maxItems") return unless(!value.is_array() || value.size() <= said);
        if (word == "required")
            return unless(!value.is_object() || std::all_of(said.begin(), said.end(), [&](const Json& name) {
                return value.contains(name.get<std::string>());
            }));
        if (word == "additionalProperties") return check_others(value, schema, said, at);
        if (word == "properties") return check_members(value, said, at);
        if (word == "items") return check_items(value, said, at);
        if (word == "$ref")
            return check(value, root_.at(Json::json_pointer(said.get<std::string>().substr(1))), at);
        if (word == "anyOf")
            return unless(std::any_of(said.begin(), said.end(),
                                      [&](const Json& one) { return check(value, one, at).empty(); }));
        if (word == "$defs" || word == "description") return {};
        throw std::runtime_error("the test's schema has the word " + word);
    }

    std::string check_others(const Json& value, const Json& schema, const Json& said,
                             const std::string& at) const {
        if (!value.is_object() || said != false) return {};
        for (const auto& [name, member] : value.items())
            if (!schema["properties"].contains(name)) return at + "." + name + " is one too many";
        return {};
    }

    std::string check_members(const Json& value, const Json& schemas, const std::string& at) const {
        if (!value.is_object()) return {};
        for (const auto& [name, schema] : schemas.items())
            if (value.contains(name))
                if (const auto wrong = check(value[name], schema, at + "." + name); !wrong.empty())
                    return wrong;
        return {};
    }

    std::string check_items(const Json& value, const Json& schema, const std::string& at) const {
        if (!value.is_array()) return {};
        for (const auto& item : value)
            if (const auto wrong = check(item, schema, at + "[]"); !wrong.empty()) return wrong;
        return {};
    }

    Json root_;
};

}  // namespace cachalot::test
