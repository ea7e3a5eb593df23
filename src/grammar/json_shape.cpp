#include "grammar/json_shape.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "grammar/json_formats.h"
#include "text/utf8.h"

namespace cachalot::grammar {
namespace {

// Words of the standard that say what no grammar of this kind can hold to.
constexpr std::array<std::string_view, 19> kRefused = {"not",
                                                       "if",
                                                       "then",
                                                       "else",
                                                       "contains",
                                                       "minContains",
                                                       "maxContains",
                                                       "uniqueItems",
                                                       "dependentRequired",
                                                       "dependentSchemas",
                                                       "dependencies",
                                                       "unevaluatedProperties",
                                                       "unevaluatedItems",
                                                       "$dynamicRef",
                                                       "$recursiveRef",
                                                       "extends",
                                                       "disallow",
                                                       "divisibleBy",
                                                       "propertyDependencies"};

// Words that say nothing of a value by themselves.
constexpr std::array<std::string_view, 17> kAnnotations = {
    "$schema",  "$id",         "$comment",       "$anchor",     "$defs",        "definitions",
    "title",    "description", "default",        "examples",    "example",      "deprecated",
    "readOnly", "writeOnly",   "$dynamicAnchor", "$vocabulary", "discriminator"};

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& all, std::string_view word) {
    return std::find(all.begin(), all.end(), word) != all.end();
}

unsigned type_named(std::string_view name) {
    if (name == "null") return JsonTypes::null;
    if (name == "boolean") return JsonTypes::boolean;
    if (name == "integer") return JsonTypes::integer;
    if (name == "number") return JsonTypes::number | JsonTypes::integer;
    if (name == "string") return JsonTypes::string;
    if (name == "array") return JsonTypes::array;
    if (name == "object") return JsonTypes::object;
    return 0;
}

}  // namespace

bool Shape::requires_member(std::string_view name) const {
    return std::find(required.begin(), required.end(), name) != required.end();
}

void Shapes::spend(const Json& schema, std::size_t steps) {
    work_ += steps;
    if (work_ > limits_.alternatives * 16)
        source_.fail_at(schema, "",
                        "allOf, anyOf and oneOf are combined in too many ways; simplify the schema");
}

// ---- Merging

std::vector<Shape> Shapes::of(const SchemaList& schemas) {
    std::vector<Shape> shapes;
    std::vector<Work> works(1);
    works[0].open.assign(schemas.rbegin(), schemas.rend());
    while (!works.empty()) {
        Work work = std::move(works.back());
        works.pop_back();
        bool possible = true;
        while (possible && !work.open.empty()) {
            const Json& schema = *work.open.back();
            work.open.pop_back();
            possible = merge(work, schema);
        }
        if (!possible || work.shape.types == 0) continue;
        if (work.alternatives.empty()) {
            shapes.push_back(std::move(work.shape));
            continue;
        }
        const Json& alternatives = *work.alternatives.back();
        work.alternatives.pop_back();
        for (auto one = alternatives.rbegin(); one != alternatives.rend(); ++one) {
            spend(alternatives,
                  16 + work.merged.size() + work.alternatives.size() + work.shape.required.size());
            Work& branch = works.emplace_back(work);
            branch.open.push_back(&*one);
        }
    }
    return shapes;
}

// False: nothing can satisfy it.
bool Shapes::merge(Work& work, const Json& schema) {
    spend(schema, 1);
    if (schema.is_boolean()) return schema.get<bool>();
    if (!schema.is_object()) source_.fail_at(schema, "", "is not a schema: neither an object nor a boolean");
    if (!work.merged.insert(&schema).second) return true;
    bool is_array = false, is_object = false, is_typed = false;
    for (const auto& [word, value] : schema.get_ref<const Json::object_t&>()) {
        is_typed |= word == "type";
        is_array |= word == "items" || word == "prefixItems" || word == "additionalItems";
        is_object |= word == "properties" || word == "patternProperties" || word == "additionalProperties";
        if (!merge_word(work, schema, word, value)) return false;
    }
    if (is_typed) merge_types(work, schema);
    if (is_array) merge_array(work, schema);
    if (is_object) merge_object(work, schema);
    return work.shape.types != 0;
}

bool Shapes::merge_word(Work& work, const Json& schema, const std::string& word, const Json& value) {
    Shape& shape = work.shape;
    const auto need = [&](bool right, const char* what) {
        if (!right) source_.fail_at(schema, word, what);
    };
    if (is_one_of(kAnnotations, word) || word == "type") return true;
    if (word == "$ref") {
        work.open.push_back(&source_.target(schema));
    } else if (word == "allOf" || word == "anyOf" || word == "oneOf") {
        need(value.is_array() && !value.empty(), "is not a list of schemas");
        if (word == "oneOf") check_exclusive(schema, value);
        if (word != "allOf") {
            work.alternatives.push_back(&value);
        } else {
            for (auto one = value.rbegin(); one != value.rend(); ++one) work.open.push_back(&*one);
        }
    } else if (word == "enum") {
        need(value.is_array() && !value.empty(), "is not a list of values");
        std::vector<const Json*> values;
        for (const Json& one : value) values.push_back(&one);
        merge_values(shape, values);
    } else if (word == "const") {
        merge_values(shape, {&value});
    } else if (word == "pattern") {
        need(value.is_string(), "is not a string");
        shape.patterns.push_back(&pattern(schema, value.get_ref<const std::string&>()));
    } else if (word == "format") {
        need(value.is_string(), "is not a string");
        if (const char* known = pattern_of_format(value.get_ref<const std::string&>()))
            shape.patterns.push_back(&pattern(schema, known));
    } else if (word == "required") {
        need(value.is_array(), "is not a list of names");
        for (const Json& name : value) {
            need(name.is_string(), "is not a list of names");
            const auto& text = name.get_ref<const std::string&>();
            spend(schema, shape.required.size() / 64);
            if (!shape.requires_member(text)) shape.required.push_back(text);
        }
    } else if (word == "propertyNames") {
        shape.member_names.push_back(&value);
    } else if (word == "uniqueItems" && value == false) {
        return true;
    } else if (is_one_of(kRefused, word)) {
        source_.fail_at(schema, word, "is not supported; leave it out");
    } else {
        return merge_number(work, schema, word, value) && merge_count(work, schema, word, value);
    }
    return true;
}

void Shapes::merge_types(Work& work, const Json& schema) {
    const Json& type = schema.at("type");
    unsigned types = 0;
    const auto add = [&](const Json& name) {
        const unsigned bits = name.is_string() ? type_named(name.get_ref<const std::string&>()) : 0;
        if (bits == 0) source_.fail_at(schema, "type", "is not the name of a JSON type, or a list of such");
        types |= bits;
    };
    if (type.is_array()) {
        for (const Json& name : type) add(name);
    } else {
        add(type);
    }
    if (const auto nullable = schema.find("nullable"); nullable != schema.end() && *nullable == true)
        types |= JsonTypes::null;
    work.shape.types &= types;
}

bool Shapes::merge_number(Work& work, const Json& schema, const std::string& word, const Json& value) {
    NumberRange& range = work.shape.numbers;
    const bool is_low = word == "minimum" || word == "exclusiveMinimum";
    const bool is_high = word == "maximum" || word == "exclusiveMaximum";
    if (!is_low && !is_high && word != "multipleOf") return true;
    if (!value.is_number()) source_.fail_at(schema, word, "is not a number");
    if (word == "multipleOf") {
        merge_multiple(work.shape, schema, value);
        return true;
    }
    const auto decimal = Decimal::of(value);
    if (!decimal) source_.fail_at(schema, word, "is too large or too small a number");
    const Bound bound{*decimal, word.starts_with("exclusive")};
    auto& old = is_low ? range.low : range.high;
    const auto order = old ? bound.value <=> old->value : std::strong_ordering::equal;
    if (!old || (is_low ? order > 0 : order < 0) || (order == 0 && bound.exclusive)) old = bound;
    return true;
}

void Shapes::merge_multiple(Shape& shape, const Json& schema, const Json& value) {
    const auto decimal = Decimal::of(value);
    if (!decimal || decimal->negative || decimal->is_zero())
        source_.fail_at(schema, "multipleOf", "is not a positive number of a common size");
    const std::string digits = decimal->whole + decimal->fraction;
    const std::size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
    const std::string significant = digits.substr(first);
    NumberRange& range = shape.numbers;
    if (significant.size() > 4 || std::stoul(significant) > kMostMultiple || decimal->fraction.size() > 12)
        source_.fail_at(schema, "multipleOf",
                        fmt::format("needs more than {} states; use a smaller number", kMostMultiple));
    if (range.multiple)
        source_.fail_at(schema, "multipleOf", "stands beside another one in allOf, which is not supported");
    range.multiple = std::stoul(significant);
    range.scale = static_cast<std::uint32_t>(decimal->fraction.size());
}

bool Shapes::merge_count(Work& work, const Json& schema, const std::string& word, const Json& value) {
    Shape& shape = work.shape;
    std::uint64_t Shape::*field = nullptr;
    if (word == "minLength") field = &Shape::least_length;
    if (word == "maxLength") field = &Shape::most_length;
    if (word == "minItems") field = &Shape::least_items;
    if (word == "maxItems") field = &Shape::most_items;
    if (word == "minProperties") field = &Shape::least_members;
    if (word == "maxProperties") field = &Shape::most_members;
    if (!field) return true;
    const auto decimal = value.is_number() ? Decimal::of(value) : std::nullopt;
    if (!decimal || decimal->negative || !decimal->is_integer())
        source_.fail_at(schema, word, "is not a whole number of 0 or more");
    const std::uint64_t count = decimal->whole.size() > 9 ? 1'000'000'000 : std::stoul(decimal->whole);
    const bool is_least = word.starts_with("min");
    if (is_least && count > kMostTimes)
        source_.fail_at(schema, word, fmt::format("is more than {}, the most that is supported", kMostTimes));
    if (is_least)
        shape.*field = std::max(shape.*field, count);
    else if (count <= kMostTimes)  // more than that nobody writes
        shape.*field = std::min(shape.*field, count);
    return true;
}

void Shapes::merge_values(Shape& shape, const std::vector<const Json*>& values) {
    if (!shape.values) {
        shape.values = values;
        return;
    }
    std::set<std::string> known;
    for (const Json* value : values) known.insert(value->dump());
    std::erase_if(*shape.values, [&](const Json* value) { return !known.contains(value->dump()); });
}

void Shapes::merge_array(Work& work, const Json& schema) {
    ArrayWords words;
    const auto prefix = schema.find("prefixItems"), items = schema.find("items");
    const auto more = schema.find("additionalItems");
    const Json* list = prefix != schema.end() ? &*prefix : nullptr;
    if (items != schema.end() && items->is_array())  // as up to draft 2019-09
        list = &*items, words.rest = more != schema.end() ? &*more : nullptr;
    else if (items != schema.end())
        words.rest = &*items;
    if (list) {
        if (!list->is_array()) source_.fail_at(schema, "prefixItems", "is not a list of schemas");
        for (const Json& one : *list) words.prefix.push_back(&one);
    }
    work.shape.arrays.push_back(std::move(words));
}

void Shapes::merge_object(Work& work, const Json& schema) {
    auto& known = objects_[&schema];
    if (!known) {
        auto words = std::make_shared<ObjectWords>();
        const auto object_at = [&](const char* word) -> const Json* {
            const auto found = schema.find(word);
            if (found == schema.end()) return nullptr;
            if (!found->is_object()) source_.fail_at(schema, word, "is not an object of schemas");
            return &*found;
        };
        words->properties = object_at("properties");
        if (words->properties)
            for (const auto& [name, member] : words->properties->get_ref<const Json::object_t&>())
                words->by_name.emplace(name, &member);
        if (const Json* patterns = object_at("patternProperties"))
            for (const auto& [text, member] : patterns->get_ref<const Json::object_t&>())
                words->patterns.emplace_back(&pattern(*patterns, text), &member);
        if (const auto others = schema.find("additionalProperties"); others != schema.end())
            words->others = &*others;
        known = std::move(words);
    }
    work.shape.objects.push_back(known);
}

// ---- Parts

namespace {

bool says_only(const Json& schema, std::string_view word) {
    for (const auto& [key, value] : schema.get_ref<const Json::object_t&>())
        if (key != word && !is_one_of(kAnnotations, key)) return false;
    return true;
}

// Adds a schema to a list that keeps its order; false if it admits nothing.
bool add(SchemaList& list, const Json* schema) {
    if (schema->is_boolean()) return schema->get<bool>();
    if (std::find(list.begin(), list.end(), schema) == list.end()) list.push_back(schema);
    return true;
}

}  // namespace

const Json& Shapes::resolved(const Json& schema) {
    const Json* at = &schema;
    for (std::size_t i = 0; i < limits_.nesting; ++i) {
        if (!at->is_object() || !at->contains("$ref") || !says_only(*at, "$ref")) return *at;
        at = &source_.target(*at);
    }
    source_.fail_at(schema, "$ref", "leads to itself, or to too long a row of references");
}

const Json* Shapes::pure_alternatives(const Json& schema, const char** keyword) {
    if (!schema.is_object()) return nullptr;
    for (const char* word : {"anyOf", "oneOf"})
        if (const auto found = schema.find(word); found != schema.end() && says_only(schema, word)) {
            if (!found->is_array() || found->empty())
                source_.fail_at(schema, word, "is not a list of schemas");
            *keyword = word;
            return &*found;
        }
    return nullptr;
}

std::optional<SchemaList> Shapes::member(const Shape& shape, std::string_view name) {
    SchemaList list;
    for (const auto& object : shape.objects) {
        bool known = false;
        if (const auto found = object->by_name.find(name); found != object->by_name.end()) {
            known = true;
            if (!add(list, found->second)) return std::nullopt;
        }
        for (const auto& [pattern, schema] : object->patterns) {
            if (!pattern->accepts(name)) continue;
            known = true;
            if (!add(list, schema)) return std::nullopt;
        }
        if (!known && object->others && !add(list, object->others)) return std::nullopt;
    }
    return list;
}

std::optional<SchemaList> Shapes::item(const Shape& shape, std::size_t index) {
    SchemaList list;
    for (const ArrayWords& array : shape.arrays) {
        const Json* schema = index < array.prefix.size() ? array.prefix[index] : array.rest;
        if (schema && !add(list, schema)) return std::nullopt;
    }
    return list;
}

const CharAutomaton& Shapes::pattern(const Json& schema, const std::string& text) {
    if (const auto found = patterns_.find(text); found != patterns_.end()) return found->second;
    try {
        const Regex regex = parse_regex(text, {}, limits_.nesting);
        CharAutomaton made = CharAutomaton::of(regex, CharAutomaton::Where::anywhere, nodes_left());
        pattern_nodes_ += made.size();
        return patterns_.emplace(text, std::move(made)).first->second;
    } catch (const GrammarError& error) {
        source_.fail_at(schema, "", fmt::format("\"{}\": {}", text, error.what()));
    }
}

CharAutomaton Shapes::strings(const Shape& shape) {
    const std::size_t most = nodes_left();
    std::optional<CharAutomaton> all;
    const auto join = [&](const CharAutomaton& one) {
        all = all ? CharAutomaton::both(*all, one, most) : one;
    };
    for (const CharAutomaton* pattern : shape.patterns) join(*pattern);
    if (!all || shape.least_length > 0 || shape.most_length != Shape::kAny) {
        const auto longest =
            shape.most_length == Shape::kAny ? kNoLimit : static_cast<std::uint32_t>(shape.most_length);
        join(CharAutomaton::of_length(static_cast<std::uint32_t>(shape.least_length), longest, most));
    }
    pattern_nodes_ += all->size();
    return *all;
}

bool Shapes::fits(const Json& value, const Shape& shape) {
    const unsigned type = json_type(value);
    if ((shape.types & type) == 0) {
        // 1.0 is an integer, too.
        const auto decimal = value.is_number_float() ? Decimal::of(value) : std::nullopt;
        if (!decimal || !decimal->is_integer() || !shape.has(JsonTypes::integer)) return false;
    }
    if (value.is_number()) {
        const auto decimal = Decimal::of(value);
        const auto& [low, high, multiple, scale, integer] = shape.numbers;
        if (!low && !high && !multiple) return true;
        if (!decimal || multiple) return false;
        if (low && (*decimal < low->value || (low->exclusive && *decimal == low->value))) return false;
        return !high || !(*decimal > high->value || (high->exclusive && *decimal == high->value));
    }
    if (value.is_string()) {
        const auto& text = value.get_ref<const std::string&>();
        std::uint64_t length = 0;
        for (std::string_view left = text; !left.empty(); ++length)
            left.remove_prefix(decode_utf8(left).length);
        if (length < shape.least_length || length > shape.most_length) return false;
        return std::all_of(shape.patterns.begin(), shape.patterns.end(),
                           [&](const CharAutomaton* pattern) { return pattern->accepts(text); });
    }
    const auto admitted = [&](const Json& part, const std::optional<SchemaList>& schemas) {
        if (!schemas) return false;
        const auto shapes = of(*schemas);
        return std::any_of(shapes.begin(), shapes.end(), [&](const Shape& one) {
            if (!fits(part, one)) return false;
            return !one.values || std::any_of(one.values->begin(), one.values->end(),
                                              [&](const Json* known) { return *known == part; });
        });
    };
    if (value.is_array()) {
        if (value.size() < shape.least_items || value.size() > shape.most_items) return false;
        for (std::size_t i = 0; i < value.size(); ++i)
            if (!admitted(value[i], item(shape, i))) return false;
    }
    if (value.is_object()) {
        if (value.size() < shape.least_members || value.size() > shape.most_members) return false;
        for (const std::string& name : shape.required)
            if (!value.contains(name)) return false;
        for (const auto& [name, part] : value.get_ref<const Json::object_t&>())
            if (!admitted(part, member(shape, name))) return false;
    }
    return true;
}

}  // namespace cachalot::grammar
