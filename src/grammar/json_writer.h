// Writes shapes of JSON values into an automaton.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "grammar/builder.h"
#include "grammar/json_shape.h"

namespace cachalot::grammar {

// Less by a number, but not less than 0; without a limit it stays so.
inline std::uint64_t less(std::uint64_t count, std::uint64_t by) {
    return count == Shape::kAny ? count : count - std::min(count, by);
}

class JsonWriter {
  public:
    struct Member {
        std::string name;
        bool required;
        SchemaList schemas;
    };

    // `open`: as the standard has it, objects have any members besides those of "properties", and arrays any
    // items behind "prefixItems", if nothing else is said; and the latter need not be complete.
    JsonWriter(Builder& builder, SchemaSource& source, const Limits& limits, bool open);

    // The rule of a value that satisfies the schemas. It is written by write_all().
    RuleId rule_of(SchemaList schemas);
    void write_all();

    // Parts of it, for those who write values in a form of their own.
    Shapes& shapes() { return shapes_; }
    void write_shape(NodeId from, NodeId to, const Shape& shape);
    // The members with a name in the schema, in order; nothing if there is no such object.
    std::optional<std::vector<Member>> members_of(const Shape& shape);
    // Whether there are no others.
    bool is_closed(const Shape& shape) const;

  private:
    struct Waiting {
        RuleId rule;
        SchemaList schemas;
    };

    void write_rule(RuleId rule, const SchemaList& schemas);
    void write_value(NodeId from, NodeId to, const Json& value);
    void write_values(NodeId from, NodeId to, const Shape& shape);
    RuleId number_rule(const NumberRange& range);
    RuleId string_rule(const Shape& shape);
    void write_array(NodeId from, NodeId to, const Shape& shape);
    void write_object(NodeId from, NodeId to, const Shape& shape);
    // The rule of a member with a name that is not in the schema; none if there can be no such member.
    std::vector<RuleId> other_members(const Shape& shape, const std::vector<Member>& members);
    void write_member(NodeId from, NodeId to, const Member& member);
    void write_list(NodeId from, NodeId to, RuleId item, bool first, std::uint64_t least, std::uint64_t most);
    CharAutomaton names_of(const Shape& shape);
    RuleId after_comma(RuleId item);

    Builder& builder_;
    SchemaSource& source_;
    Limits limits_;
    Shapes shapes_;
    bool open_;
    RuleId blank_ = 0, character_ = 0;
    std::map<SchemaList, RuleId> rules_;
    std::deque<Waiting> waiting_;
    std::map<RuleId, RuleId> after_comma_;
    // What is the same in many places is written once.
    using StringWords = std::tuple<std::uint64_t, std::uint64_t, std::vector<const CharAutomaton*>>;
    std::map<StringWords, RuleId> strings_;
    std::map<std::string, RuleId> numbers_;
    std::optional<RuleId> any_array_, any_object_;
};

}  // namespace cachalot::grammar
