// Schemas taken apart and put together again: what several schemas that hold for the same value say of it.
//
// A value has to satisfy a list of schemas: the schema of its place, what that refers to, what stands in
// allOf, and for a member the schemas that several objects give for it. Their words are merged into a Shape.
// anyOf and oneOf make several shapes, one for each choice of alternatives. The number of choices may be
// exponential; there is a budget.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "grammar/char_automaton.h"
#include "grammar/json_numbers.h"
#include "grammar/schema_source.h"
#include "text/compiled_schema.h"

namespace cachalot::grammar {

// Schemas that all hold.
using SchemaList = std::vector<const Json*>;

// What one schema says of arrays and of objects.
struct ArrayWords {
    std::vector<const Json*> prefix = {};
    const Json* rest = nullptr;  // of the items behind them; null: anything
};
struct ObjectWords {
    const Json* properties = nullptr;
    std::vector<std::pair<const CharAutomaton*, const Json*>> patterns = {};
    const Json* others = nullptr;  // additionalProperties; null: not given
    std::map<std::string_view, const Json*> by_name = {};
};

struct Shape {
    static constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

    unsigned types =
        JsonTypes::any().is_any() ? 127 : 0;  // bits of JsonTypes; number is set without integer, too
    std::optional<std::vector<const Json*>> values = {};  // enum, const
    NumberRange numbers = {};
    std::uint64_t least_length = 0, most_length = kAny;  // of strings, in characters
    std::vector<const CharAutomaton*> patterns = {};
    std::vector<ArrayWords> arrays = {};
    std::uint64_t least_items = 0, most_items = kAny;
    std::vector<std::shared_ptr<const ObjectWords>> objects = {};
    std::vector<std::string> required = {};
    std::uint64_t least_members = 0, most_members = kAny;
    std::vector<const Json*> member_names = {};  // propertyNames

    bool has(JsonTypes::Type type) const { return (types & type) != 0; }
    bool requires_member(std::string_view name) const;
    bool has_any_array() const { return arrays.empty() && least_items == 0 && most_items == kAny; }
    bool has_any_object() const {
        return objects.empty() && required.empty() && least_members == 0 && most_members == kAny &&
               member_names.empty();
    }
};

class Shapes {
  public:
    Shapes(SchemaSource& source, const Limits& limits) : source_(source), limits_(limits) {}

    // The alternatives for a value that satisfies all of the schemas. Throws GrammarError for words that are
    // not supported.
    std::vector<Shape> of(const SchemaList& schemas);

    // The alternatives of a schema that says nothing else; null if it is none.
    const Json* pure_alternatives(const Json& schema, const char** keyword);
    // Follows references from schemas that say nothing else.
    const Json& resolved(const Json& schema);

    // The schemas of a member, of an item. Nothing: there can be none.
    std::optional<SchemaList> member(const Shape& shape, std::string_view name);
    std::optional<SchemaList> item(const Shape& shape, std::size_t index);

    // Whether a value from a list is admitted by the other words of the shape.
    bool fits(const Json& value, const Shape& shape);

    // Throws GrammarError unless no value satisfies two of the alternatives of oneOf.
    void check_exclusive(const Json& schema, const Json& alternatives);

    const CharAutomaton& pattern(const Json& schema, const std::string& text);
    CharAutomaton strings(const Shape& shape);

  private:
    struct Work {
        Shape shape;
        std::vector<const Json*> open;          // schemas still to be merged
        std::vector<const Json*> alternatives;  // lists of anyOf and oneOf still to be chosen from
        std::set<const Json*> merged;
    };

    bool merge(Work& work, const Json& schema);
    bool merge_word(Work& work, const Json& schema, const std::string& word, const Json& value);
    bool merge_number(Work& work, const Json& schema, const std::string& word, const Json& value);
    bool merge_count(Work& work, const Json& schema, const std::string& word, const Json& value);
    void merge_values(Shape& shape, const std::vector<const Json*>& values);
    void merge_array(Work& work, const Json& schema);
    void merge_object(Work& work, const Json& schema);
    void merge_types(Work& work, const Json& schema);
    void merge_multiple(Shape& shape, const Json& schema, const Json& value);
    std::size_t nodes_left() const {
        const std::size_t all = 2 * limits_.products;
        return std::min(limits_.products, all - std::min(pattern_nodes_, all));
    }
    void spend(const Json& schema, std::size_t steps);

    bool exclusive(const std::vector<Shape>& a, const std::vector<Shape>& b, int depth);
    bool exclusive(const Shape& a, const Shape& b, int depth);
    bool exclusive_objects(const Shape& a, const Shape& b, int depth);
    bool have_distinct_member(const std::vector<std::vector<Shape>>& alternatives);

    SchemaSource& source_;
    Limits limits_;
    std::size_t work_ = 0;
    std::map<const Json*, std::shared_ptr<const ObjectWords>> objects_;
    std::map<std::string, CharAutomaton, std::less<>> patterns_;
    std::size_t pattern_nodes_ = 0;  // of all automata so far
    std::set<const Json*> exclusive_;
};

}  // namespace cachalot::grammar
