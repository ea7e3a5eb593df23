#include "grammar/schema_source.h"

#include <charconv>
#include <utility>
#include <vector>

namespace cachalot::grammar {
namespace {

constexpr std::size_t kValueBytes = 4;  // that a value takes at least, with what is around it

// Throws GrammarError as soon as there is too much.
void measure(const Json& value, const Limits& limits, std::size_t depth, std::size_t& bytes) {
    if (depth > limits.nesting)
        throw GrammarError(
            fmt::format("the schema is nested more than {} levels deep; use $defs", limits.nesting));
    bytes += kValueBytes + (value.is_string() ? value.get_ref<const std::string&>().size() : 0);
    if (bytes > limits.source_bytes)
        throw GrammarError(
            fmt::format("the schema has more than {} bytes; make it smaller", limits.source_bytes));
    if (value.is_object()) {
        for (const auto& [key, member] : value.get_ref<const Json::object_t&>()) {
            bytes += key.size();
            measure(member, limits, depth + 1, bytes);
        }
    } else if (value.is_array()) {
        for (const Json& item : value) measure(item, limits, depth + 1, bytes);
    }
}

std::string percent_decoded(std::string_view text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned byte = 0;
        if (text[i] == '%' && i + 2 < text.size() &&
            std::from_chars(&text[i + 1], &text[i + 3], byte, 16).ptr == &text[i + 3]) {
            result += static_cast<char>(byte);
            i += 2;
        } else if (text[i] == '%' && i + 3 == text.size() &&
                   std::from_chars(&text[i + 1], text.data() + text.size(), byte, 16).ptr ==
                       text.data() + text.size()) {
            result += static_cast<char>(byte);
            i += 2;
        } else {
            result += text[i];
        }
    }
    return result;
}

std::string pointer_step(std::string_view name) {
    std::string step = "/";
    for (const char c : name)
        step += c == '~' ? std::string("~0") : c == '/' ? std::string("~1") : std::string(1, c);
    return step;
}

bool find(const Json& at, const Json& part, std::string& path) {
    if (&at == &part) return true;
    const auto try_step = [&](const Json& member, const std::string& step) {
        const std::size_t before = path.size();
        path += step;
        if (find(member, part, path)) return true;
        path.resize(before);
        return false;
    };
    if (at.is_object()) {
        for (const auto& [key, member] : at.get_ref<const Json::object_t&>())
            if (try_step(member, pointer_step(key))) return true;
    } else if (at.is_array()) {
        for (std::size_t i = 0; i < at.size(); ++i)
            if (try_step(at[i], "/" + std::to_string(i))) return true;
    }
    return false;
}

}  // namespace

SchemaSource::SchemaSource(const Json& root, const Limits& limits) : root_(root) {
    std::size_t bytes = 0;
    measure(root, limits, 0, bytes);
}

std::string SchemaSource::path(const Json& part) const {
    std::string path = "#";
    find(root_, part, path);
    return path;
}

void SchemaSource::fail_at(const Json& schema, std::string_view keyword, std::string_view what) const {
    const std::string step = keyword.empty() ? "" : pointer_step(keyword);
    throw GrammarError(fmt::format("{}{}: {}", path(schema), step, what));
}

const Json* SchemaSource::child(const Json& parent, const std::string& name) {
    if (parent.is_array()) {
        std::size_t index = 0;
        const char* end = name.data() + name.size();
        const auto [stop, error] = std::from_chars(name.data(), end, index);
        return error == std::errc() && stop == end && index < parent.size() ? &parent[index] : nullptr;
    }
    if (!parent.is_object()) return nullptr;
    const auto [members, fresh] = members_.try_emplace(&parent);
    if (fresh)
        for (const auto& [key, value] : parent.get_ref<const Json::object_t&>())
            members->second.emplace(key, &value);
    const auto found = members->second.find(name);
    return found == members->second.end() ? nullptr : found->second;
}

const Json& SchemaSource::target(const Json& schema) {
    const Json& reference = schema.at("$ref");
    if (!reference.is_string()) fail_at(schema, "$ref", "is not a string");
    const auto& text = reference.get_ref<const std::string&>();
    const auto [found, fresh] = targets_.try_emplace(text, nullptr);
    if (fresh) {
        if (text != "#" && !text.starts_with("#/"))
            fail_at(schema, "$ref", "only references within the schema are supported: \"#\" or \"#/...\"");
        std::vector<std::string> steps;
        try {
            for (Json::json_pointer pointer(percent_decoded(text.substr(1))); !pointer.empty();
                 pointer.pop_back())
                steps.push_back(pointer.back());
        } catch (const Json::exception&) {
            targets_.erase(text);
            fail_at(schema, "$ref", "is not a JSON pointer");
        }
        const Json* at = &root_;
        for (; at && !steps.empty(); steps.pop_back()) at = child(*at, steps.back());
        found->second = at;
    }
    if (!found->second) fail_at(schema, "$ref", "refers to nothing in this schema");
    return *found->second;
}

}  // namespace cachalot::grammar
