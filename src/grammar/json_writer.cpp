#include "grammar/json_writer.h"

#include <algorithm>
#include <set>

namespace cachalot::grammar {
namespace {

constexpr std::uint32_t kMostIndentation = 64, kMostTabs = 16;
constexpr char32_t kSurrogates = 0xD800, kLowSurrogates = 0xDC00;

std::uint32_t times(std::uint64_t count) {
    return count == Shape::kAny ? kNoLimit : static_cast<std::uint32_t>(count);
}

// Nothing, a space, or a line end and an indentation.
RuleId write_blank(Builder& builder) {
    const RuleId space = builder.rule("space"), tab = builder.rule("tab"), blank = builder.rule("blank");
    builder.text(builder.begin(space), builder.end(space), " ");
    builder.text(builder.begin(tab), builder.end(tab), "\t");
    const NodeId from = builder.begin(blank), to = builder.end(blank), line = builder.node();
    builder.skip(from, to);
    builder.text(from, to, " ");
    builder.text(from, line, "\n");
    builder.repeat(line, to, space, 0, kMostIndentation);
    builder.repeat(line, to, tab, 1, kMostTabs);
    return blank;
}

void write_hex(Builder& builder, NodeId from, NodeId to, unsigned low, unsigned high) {
    const auto range = [&](unsigned first, unsigned last, char base, unsigned offset) {
        if (first <= last)
            builder.range(from, to, static_cast<Symbol>(base + first - offset),
                          static_cast<Symbol>(base + last - offset));
    };
    range(low, std::min(high, 9U), '0', 0);
    range(std::max(low, 10U), high, 'a', 10);
    range(std::max(low, 10U), high, 'A', 10);
}

// Four digits of hexadecimal, the first two of which are in a range.
void write_unit(Builder& builder, NodeId from, NodeId to, unsigned low, unsigned high) {
    const NodeId third = builder.node(), fourth = builder.node();
    for (unsigned first = low >> 4; first <= high >> 4; ++first) {
        const NodeId second = builder.node();
        write_hex(builder, from, second, first, first);
        write_hex(builder, second, third, first == low >> 4 ? low & 15 : 0,
                  first == high >> 4 ? high & 15 : 15);
    }
    write_hex(builder, third, fourth, 0, 15);
    write_hex(builder, fourth, to, 0, 15);
}

// One character of a string, in any spelling but halves of surrogate pairs alone.
RuleId write_character(Builder& builder) {
    const RuleId rule = builder.rule("character");
    const NodeId from = builder.begin(rule), to = builder.end(rule);
    builder.characters(from, to, CharSet{{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}.inverted());
    const NodeId escape = builder.node(), unit = builder.node(), pair = builder.node(), low = builder.node();
    builder.text(from, escape, "\\");
    for (const char c : std::string_view("\"\\/bfnrt")) builder.text(escape, to, std::string_view(&c, 1));
    builder.text(escape, unit, "u");
    write_unit(builder, unit, to, 0, (kSurrogates >> 8) - 1);
    write_unit(builder, unit, to, 0xE0, 0xFF);
    write_unit(builder, unit, pair, kSurrogates >> 8, (kLowSurrogates >> 8) - 1);
    builder.text(pair, low, "\\u");
    write_unit(builder, low, to, kLowSurrogates >> 8, 0xDF);
    return rule;
}

}  // namespace

JsonWriter::JsonWriter(Builder& builder, SchemaSource& source, const Limits& limits, bool open)
    : builder_(builder), source_(source), limits_(limits), shapes_(source, limits), open_(open) {
    blank_ = write_blank(builder_);
    character_ = write_character(builder_);
}

RuleId JsonWriter::rule_of(SchemaList schemas) {
    for (const Json*& schema : schemas) schema = &shapes_.resolved(*schema);
    std::erase_if(schemas, [](const Json* schema) { return schema->is_object() && schema->empty(); });
    std::erase_if(schemas, [](const Json* schema) { return schema->is_boolean() && schema->get<bool>(); });
    SchemaList key = schemas;  // the order does not matter but for that of members
    std::sort(key.begin(), key.end());
    key.erase(std::unique(key.begin(), key.end()), key.end());
    const auto [found, fresh] = rules_.try_emplace(std::move(key), 0);
    if (fresh) {
        found->second = builder_.rule(schemas.empty() ? "any value" : "value");
        waiting_.push_back({found->second, std::move(schemas)});
    }
    return found->second;
}

void JsonWriter::write_all() {
    while (!waiting_.empty()) {
        const Waiting next = std::move(waiting_.front());
        waiting_.pop_front();
        write_rule(next.rule, next.schemas);
    }
}

void JsonWriter::write_rule(RuleId rule, const SchemaList& schemas) {
    const NodeId from = builder_.begin(rule), to = builder_.end(rule);
    const char* keyword = nullptr;
    if (schemas.size() == 1)
        if (const Json* alternatives = shapes_.pure_alternatives(*schemas[0], &keyword)) {
            if (std::string_view(keyword) == "oneOf") shapes_.check_exclusive(*schemas[0], *alternatives);
            for (const Json& one : *alternatives) builder_.call(from, to, rule_of({&one}));
            return;
        }
    for (const Shape& shape : shapes_.of(schemas)) write_shape(from, to, shape);
}

void JsonWriter::write_shape(NodeId from, NodeId to, const Shape& shape) {
    if (shape.values) return write_values(from, to, shape);
    if (shape.has(JsonTypes::null)) builder_.text(from, to, "null");
    if (shape.has(JsonTypes::boolean)) builder_.texts(from, to, {"false", "true"});
    if (shape.has(JsonTypes::integer) || shape.has(JsonTypes::number)) {
        NumberRange range = shape.numbers;
        range.integer = !shape.has(JsonTypes::number);
        builder_.call(from, to, number_rule(range));
    }
    if (shape.has(JsonTypes::string)) builder_.call(from, to, string_rule(shape));
    // Arrays and objects of anything are written once, too.
    const auto write = [&](std::optional<RuleId>& any, bool is_any, const auto& write_type) {
        if (!is_any) return write_type(from, to);
        if (!any) {
            any = builder_.rule("any");
            write_type(builder_.begin(*any), builder_.end(*any));
        }
        builder_.call(from, to, *any);
    };
    const auto array = [&](NodeId first, NodeId last) { write_array(first, last, shape); };
    const auto object = [&](NodeId first, NodeId last) { write_object(first, last, shape); };
    if (shape.has(JsonTypes::array)) write(any_array_, shape.has_any_array(), array);
    if (shape.has(JsonTypes::object)) write(any_object_, shape.has_any_object(), object);
}

// ---- Values of a list

void JsonWriter::write_values(NodeId from, NodeId to, const Shape& shape) {
    std::vector<std::string> texts;
    for (const Json* value : *shape.values) {
        if (!shapes_.fits(*value, shape)) continue;
        if (value->is_structured() && !value->empty())
            write_value(from, to, *value);
        else
            texts.push_back(value->dump());
    }
    if (!texts.empty()) builder_.texts(from, to, std::move(texts));
}

void JsonWriter::write_value(NodeId from, NodeId to, const Json& value) {
    if (!value.is_structured() || value.empty()) return builder_.text(from, to, value.dump());
    NodeId at = builder_.node();
    builder_.text(from, at, value.is_array() ? "[" : "{");
    bool first = true;
    for (const auto& [name, part] : value.items()) {
        NodeId next = builder_.node();
        if (!std::exchange(first, false)) {
            builder_.text(at, next, ",");
            at = std::exchange(next, builder_.node());
        }
        builder_.call(at, next, blank_);
        at = next;
        if (value.is_object()) {
            const NodeId colon = builder_.node(), behind = builder_.node();
            builder_.text(at, colon, Json(name).dump() + ":");
            builder_.skip(colon, behind);
            builder_.text(colon, behind, " ");
            at = behind;
        }
        next = builder_.node();
        write_value(at, next, part);
        at = next;
    }
    const NodeId close = builder_.node();
    builder_.call(at, close, blank_);
    builder_.text(close, to, value.is_array() ? "]" : "}");
}

// ---- Strings and numbers

RuleId JsonWriter::string_rule(const Shape& shape) {
    const auto [found, fresh] =
        strings_.try_emplace({shape.least_length, shape.most_length, shape.patterns}, 0);
    if (!fresh) return found->second;
    const RuleId rule = found->second = builder_.rule("string");
    if (shape.least_length > shape.most_length) return rule;  // which nothing can satisfy
    const NodeId first = builder_.node(), last = builder_.node();
    builder_.text(builder_.begin(rule), first, "\"");
    builder_.text(last, builder_.end(rule), "\"");
    if (shape.patterns.empty())
        builder_.repeat(first, last, character_, times(shape.least_length), times(shape.most_length));
    else
        shapes_.strings(shape).write(builder_, first, last, CharAutomaton::As::json);
    return rule;
}

RuleId JsonWriter::number_rule(const NumberRange& range) {
    std::string key = fmt::format("{} {} {}", range.integer, range.multiple, range.scale);
    for (const auto& bound : {range.low, range.high})
        key += !bound ? std::string(" any")
                      : fmt::format(" {}{}.{} {}", bound->value.negative ? "-" : "", bound->value.whole,
                                    bound->value.fraction, bound->exclusive);
    const auto [found, fresh] = numbers_.try_emplace(std::move(key), 0);
    if (fresh) {
        found->second = builder_.rule("number");
        write_number(builder_, builder_.begin(found->second), builder_.end(found->second), range);
    }
    return found->second;
}

// ---- Arrays

RuleId JsonWriter::after_comma(RuleId item) {
    const auto [found, fresh] = after_comma_.try_emplace(item, 0);
    if (fresh) {
        const RuleId rule = found->second = builder_.rule("next");
        const NodeId comma = builder_.node(), blank = builder_.node();
        builder_.text(builder_.begin(rule), comma, ",");
        builder_.call(comma, blank, blank_);
        builder_.call(blank, builder_.end(rule), item);
    }
    return found->second;
}

// So many more items; `first`: none stands before them.
void JsonWriter::write_list(NodeId from, NodeId to, RuleId item, bool first, std::uint64_t least,
                            std::uint64_t most) {
    if (least > most) return;
    if (!first) return builder_.repeat(from, to, after_comma(item), times(least), times(most));
    if (least == 0) builder_.skip(from, to);
    if (most == 0) return;
    const NodeId next = builder_.node();
    builder_.call(from, next, item);
    builder_.repeat(next, to, after_comma(item), times(less(least, 1)), times(less(most, 1)));
}

void JsonWriter::write_array(NodeId from, NodeId to, const Shape& shape) {
    std::size_t prefix = 0;
    bool says_rest = shape.arrays.empty();
    for (const ArrayWords& array : shape.arrays) {
        prefix = std::max(prefix, array.prefix.size());
        says_rest |= array.rest != nullptr;
    }
    const NodeId inside = builder_.node(), close = builder_.node(), end = builder_.node();
    const NodeId begin = builder_.node();
    builder_.text(from, begin, "[");
    builder_.call(begin, inside, blank_);
    builder_.call(end, close, blank_);
    builder_.text(close, to, "]");
    NodeId at = inside;
    std::uint64_t most = shape.most_items;
    // Behind the last item blanks may follow; in an empty array those behind its bracket are enough.
    const auto may_end = [&](std::uint64_t items) {
        if (items >= shape.least_items) builder_.skip(at, items == 0 ? close : end);
    };
    for (std::size_t i = 0; i < prefix; ++i) {
        const auto schemas = shapes_.item(shape, i);
        if (i >= most || !schemas) {
            most = std::min<std::uint64_t>(most, i);
            break;
        }
        if (open_) may_end(i);
        const NodeId next = builder_.node();
        const RuleId item = rule_of(*schemas);
        builder_.call(at, next, i == 0 ? item : after_comma(item));
        at = next;
    }
    const auto rest = shapes_.item(shape, prefix);
    if (most <= prefix || !rest || (!says_rest && !open_ && prefix > 0))
        return may_end(std::min<std::uint64_t>(most, prefix));
    if (prefix == 0 && shape.least_items == 0) builder_.skip(at, close);
    const std::uint64_t least = std::max(less(shape.least_items, prefix), std::uint64_t{prefix == 0});
    if (prefix > 0 || most > 0) write_list(at, end, rule_of(*rest), prefix == 0, least, less(most, prefix));
}

}  // namespace cachalot::grammar
