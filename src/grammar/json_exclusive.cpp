// Whether the alternatives of oneOf exclude each other: if they do, a value of any of them is right. If that
// cannot be shown, oneOf is refused.

#include <algorithm>
#include <set>

#include "grammar/json_shape.h"

namespace cachalot::grammar {
namespace {

constexpr std::size_t kMostPairwise = 48;  // alternatives that are compared one with the other
constexpr int kDepth = 3;                  // of members in members that are looked at
constexpr std::size_t kMostProducts = 4096;

bool is_below(const std::optional<Bound>& high, const std::optional<Bound>& low) {
    if (!high || !low) return false;
    return high->value < low->value || (high->value == low->value && (high->exclusive || low->exclusive));
}

bool share_value(const Shape& a, const Shape& b) {
    return std::any_of(a.values->begin(), a.values->end(), [&](const Json* value) {
        return std::any_of(b.values->begin(), b.values->end(),
                           [&](const Json* other) { return *value == *other; });
    });
}

}  // namespace

void Shapes::check_exclusive(const Json& schema, const Json& alternatives) {
    if (!exclusive_.insert(&alternatives).second) return;
    std::vector<std::vector<Shape>> all;
    for (const Json& one : alternatives) all.push_back(of({&resolved(one)}));
    if (have_distinct_member(all)) return;
    const auto fail = [&] {
        source_.fail_at(schema, "oneOf",
                        "its alternatives may overlap; use anyOf, or give each a required member with "
                        "a \"const\" of its own");
    };
    if (all.size() > kMostPairwise) fail();
    for (std::size_t i = 0; i < all.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (!exclusive(all[i], all[j], kDepth)) fail();
}

// A required member whose values tell all alternatives apart, as in a tagged union.
bool Shapes::have_distinct_member(const std::vector<std::vector<Shape>>& alternatives) {
    if (alternatives.empty() || alternatives[0].empty()) return false;
    const auto tells_apart = [&](const std::string& name) {
        std::set<std::string> known;
        for (const auto& shapes : alternatives) {
            std::set<std::string> own;
            for (const Shape& shape : shapes) {
                if (shape.types != JsonTypes::object || !shape.requires_member(name)) return false;
                const auto schemas = member(shape, name);
                if (!schemas) continue;
                for (const Shape& tag : of(*schemas)) {
                    if (!tag.values) return false;
                    for (const Json* value : *tag.values) own.insert(value->dump());
                }
            }
            for (const auto& value : own)
                if (!known.insert(value).second) return false;
        }
        return true;
    };
    const auto& names = alternatives[0][0].required;
    return std::any_of(names.begin(), names.end(), tells_apart);
}

bool Shapes::exclusive(const std::vector<Shape>& a, const std::vector<Shape>& b, int depth) {
    return std::all_of(a.begin(), a.end(), [&](const Shape& x) {
        return std::all_of(b.begin(), b.end(), [&](const Shape& y) { return exclusive(x, y, depth); });
    });
}

bool Shapes::exclusive(const Shape& a, const Shape& b, int depth) {
    work_ += 8;
    const unsigned types = a.types & b.types;
    if (types == 0) return true;
    if (a.values && b.values) return !share_value(a, b);
    if (a.values || b.values) {
        const Shape &list = a.values ? a : b, &other = a.values ? b : a;
        return std::none_of(list.values->begin(), list.values->end(),
                            [&](const Json* value) { return fits(*value, other); });
    }
    if ((types & (JsonTypes::null | JsonTypes::boolean)) != 0) return false;
    if ((types & (JsonTypes::number | JsonTypes::integer)) != 0 && !is_below(a.numbers.high, b.numbers.low) &&
        !is_below(b.numbers.high, a.numbers.low))
        return false;
    if ((types & JsonTypes::string) != 0 && a.most_length >= b.least_length &&
        b.most_length >= a.least_length) {
        if (a.patterns.empty() || b.patterns.empty()) return false;
        try {
            if (!CharAutomaton::both(strings(a), strings(b), kMostProducts).empty()) return false;
        } catch (const GrammarError&) {  // too many states to tell
            return false;
        }
    }
    if ((types & JsonTypes::array) != 0 && a.most_items >= b.least_items && b.most_items >= a.least_items) {
        const std::uint64_t both = std::min<std::uint64_t>(std::max(a.least_items, b.least_items), 8);
        bool found = false;
        for (std::size_t i = 0; i < both && !found && depth > 0; ++i) {
            const auto first = item(a, i), second = item(b, i);
            found = !first || !second || exclusive(of(*first), of(*second), depth - 1);
        }
        if (!found) return false;
    }
    return (types & JsonTypes::object) == 0 || exclusive_objects(a, b, depth);
}

bool Shapes::exclusive_objects(const Shape& a, const Shape& b, int depth) {
    if (a.most_members < b.least_members || b.most_members < a.least_members) return true;
    const auto told_by = [&](const std::string& name) {
        const auto first = member(a, name), second = member(b, name);
        if (!first || !second) return true;  // one needs what the other cannot have
        const bool in_both = a.requires_member(name) && b.requires_member(name);
        return in_both && depth > 0 && exclusive(of(*first), of(*second), depth - 1);
    };
    return std::any_of(a.required.begin(), a.required.end(), told_by) ||
           std::any_of(b.required.begin(), b.required.end(), told_by);
}

}  // namespace cachalot::grammar
