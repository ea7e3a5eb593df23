// Objects: their members one after the other, and those that only patterns and the like speak of.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grammar/json_writer.h"

namespace cachalot::grammar {
namespace {

constexpr NodeId kNowhere = ~NodeId{0};
constexpr std::size_t kMostParts = 64;  // into which patterns divide names

}  // namespace

bool JsonWriter::is_closed(const Shape& shape) const {
    bool named = !shape.required.empty();
    for (const auto& object : shape.objects) {
        if (object->others || !object->patterns.empty()) return false;
        named |= object->properties != nullptr;
    }
    return named && !open_;
}

std::optional<std::vector<JsonWriter::Member>> JsonWriter::members_of(const Shape& shape) {
    std::vector<Member> members;
    std::set<std::string_view> known;
    const std::set<std::string_view> required(shape.required.begin(), shape.required.end());
    std::optional<CharAutomaton> names;
    if (!shape.member_names.empty()) names = names_of(shape);
    const auto add = [&](const std::string& name) {
        if (!known.insert(name).second) return true;
        const auto schemas = shapes_.member(shape, name);
        const bool possible = schemas && (!names || names->accepts(name));
        if (possible) members.push_back({name, required.contains(name), *schemas});
        return possible || !required.contains(name);
    };
    for (const auto& object : shape.objects)
        if (object->properties)
            for (const auto& [name, schema] : object->properties->get_ref<const Json::object_t&>())
                if (!add(name)) return std::nullopt;
    for (const std::string& name : shape.required)
        if (!add(name)) return std::nullopt;
    return members;
}

void JsonWriter::write_member(NodeId from, NodeId to, const Member& member) {
    const NodeId colon = builder_.node(), value = builder_.node();
    builder_.text(from, colon, Json(member.name).dump() + ":");
    builder_.skip(colon, value);
    builder_.text(colon, value, " ");
    builder_.call(value, to, rule_of(member.schemas));
}

void JsonWriter::write_object(NodeId from, NodeId to, const Shape& shape) {
    const auto members = members_of(shape);
    if (!members) return;
    const NodeId begin = builder_.node(), inside = builder_.node(), end = builder_.node(),
                 close = builder_.node();
    builder_.text(from, begin, "{");
    builder_.call(begin, inside, blank_);
    builder_.call(end, close, blank_);
    builder_.text(close, to, "}");
    // Two ways through the members: nothing is written yet, and something is.
    NodeId fresh = inside, begun = kNowhere;
    std::size_t required = 0;
    for (const Member& member : *members) {
        required += member.required;
        const NodeId next = builder_.node();
        if (fresh != kNowhere && begun != kNowhere) {
            const RuleId rule = builder_.rule("member");
            write_member(builder_.begin(rule), builder_.end(rule), member);
            builder_.call(fresh, next, rule);
            builder_.call(begun, next, after_comma(rule));
        } else if (fresh != kNowhere) {
            write_member(fresh, next, member);
        } else {
            const NodeId comma = builder_.node(), blank = builder_.node();
            builder_.text(begun, comma, ",");
            builder_.call(comma, blank, blank_);
            write_member(blank, next, member);
        }
        if (begun != kNowhere && !member.required) builder_.skip(begun, next);
        if (member.required) fresh = kNowhere;
        begun = next;
    }
    const bool optional = required < members->size();
    if (optional && (shape.least_members > required || shape.most_members < members->size()))
        source_.fail_at(source_.root(), "",
                        "minProperties and maxProperties are supported only where no member of "
                        "\"properties\" is optional");
    if (shape.most_members < required) return;
    const std::uint64_t least = less(shape.least_members, required);
    const std::uint64_t most = less(shape.most_members, members->size());
    const auto others = is_closed(shape) ? std::vector<RuleId>() : other_members(shape, *members);
    if (fresh != kNowhere && least == 0) builder_.skip(fresh, close);
    if (begun != kNowhere && least == 0) builder_.skip(begun, end);
    for (const RuleId other : others) {
        if (fresh != kNowhere && most > 0)
            write_list(fresh, end, other, true, std::max<std::uint64_t>(least, 1), most);
        if (begun != kNowhere) write_list(begun, end, other, false, std::max<std::uint64_t>(least, 1), most);
    }
}

CharAutomaton JsonWriter::names_of(const Shape& shape) {
    std::vector<const Json*> schemas = shape.member_names;
    for (const Json*& schema : schemas) schema = &shapes_.resolved(*schema);
    const auto shapes = shapes_.of(schemas);
    if (shapes.size() != 1)
        source_.fail_at(*shape.member_names[0], "",
                        "alternatives are not supported in propertyNames; use a pattern");
    const Shape& names = shapes[0];
    if (!names.has(JsonTypes::string)) return CharAutomaton::of_texts({}, limits_.products);
    if (!names.values) return shapes_.strings(names);
    std::vector<std::string> texts;
    for (const Json* value : *names.values)
        if (value->is_string() && shapes_.fits(*value, names)) texts.push_back(value->get<std::string>());
    return CharAutomaton::of_texts(texts, limits_.products);
}

std::vector<RuleId> JsonWriter::other_members(const Shape& shape, const std::vector<Member>& members) {
    const std::size_t most = limits_.products;
    std::vector<std::string> taken;
    for (const Member& member : members) taken.push_back(member.name);
    for (const auto& object : shape.objects)
        for (const auto& [name, schema] : object->by_name) taken.emplace_back(name);
    CharAutomaton free = CharAutomaton::of_texts(taken, most).inverted(most);
    if (!shape.member_names.empty()) free = CharAutomaton::both(free, names_of(shape), most);
    // Each pattern holds or not: the names are divided, and each part has the schemas that hold for it.
    struct Part {
        CharAutomaton names;
        std::set<const CharAutomaton*> holding;
    };
    std::vector<Part> parts;
    parts.push_back({std::move(free), {}});
    for (const auto& object : shape.objects)
        for (const auto& [pattern, schema] : object->patterns) {
            std::vector<Part> next;
            for (const Part& part : parts) {
                Part with{CharAutomaton::both(part.names, *pattern, most), part.holding};
                Part without{CharAutomaton::both(part.names, pattern->inverted(most), most), part.holding};
                with.holding.insert(pattern);
                for (Part* one : {&with, &without})
                    if (!one->names.empty()) next.push_back(std::move(*one));
            }
            parts = std::move(next);
            if (parts.size() > kMostParts)
                source_.fail_at(source_.root(), "", "too many patternProperties overlap");
        }
    const RuleId rule = builder_.rule("other member");
    bool any = false;
    for (const Part& part : parts) {
        SchemaList schemas;
        bool possible = true;
        for (const auto& object : shape.objects) {
            bool known = false;
            for (const auto& [pattern, schema] : object->patterns)
                if (part.holding.contains(pattern)) schemas.push_back(schema), known = true;
            if (known) continue;
            if (object->others) schemas.push_back(object->others);
            // Where only patterns are given, other names are no more wanted than beside "properties".
            else if (!open_ && (object->properties || !object->patterns.empty()))
                possible = possible && std::any_of(shape.objects.begin(), shape.objects.end(),
                                                   [](const auto& one) { return one->others != nullptr; });
        }
        for (const Json* schema : schemas)
            possible = possible && !(schema->is_boolean() && !schema->get<bool>());
        if (!possible || part.names.empty()) continue;
        any = true;
        const NodeId name = builder_.node(), last = builder_.node(), colon = builder_.node(),
                     value = builder_.node();
        builder_.text(builder_.begin(rule), name, "\"");
        part.names.write(builder_, name, last, CharAutomaton::As::json);
        builder_.text(last, colon, "\":");
        builder_.skip(colon, value);
        builder_.text(colon, value, " ");
        builder_.call(value, builder_.end(rule), rule_of(schemas));
    }
    return any ? std::vector{rule} : std::vector<RuleId>();
}

}  // namespace cachalot::grammar
