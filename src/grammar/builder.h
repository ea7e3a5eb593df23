// Builds an automaton piece by piece.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grammar/char_set.h"
#include "grammar/grammar.h"
#include "grammar/program.h"

namespace cachalot::grammar {

class Builder {
  public:
    explicit Builder(const Limits& limits) : limits_(limits) {}

    // The first rule is the whole. The name appears in errors. Nothing may lead on from the end of a rule,
    // nor back to its beginning.
    RuleId rule(std::string name = {});
    NodeId begin(RuleId rule) const { return rules_[rule].begin; }
    NodeId end(RuleId rule) const { return rules_[rule].end; }

    NodeId node();

    void skip(NodeId from, NodeId to) { add(from, {Edge::skip, 0, 0, to, 0}); }
    void text(NodeId from, NodeId to, std::string_view bytes);
    void range(NodeId from, NodeId to, Symbol low, Symbol high) { add(from, {Edge::text, low, high, to, 0}); }
    void call(NodeId from, NodeId to, RuleId rule) { add(from, {Edge::call, 0, 0, to, rule}); }
    void repeat(NodeId from, NodeId to, RuleId rule, std::uint32_t least, std::uint32_t most);
    // One of several texts. Common beginnings share their nodes.
    void texts(NodeId from, NodeId to, std::vector<std::string> all);
    // One character of the set, in UTF-8.
    void characters(NodeId from, NodeId to, const CharSet& set);
    // The same between the quotes of JSON, escaped where that is necessary.
    void json_characters(NodeId from, NodeId to, const CharSet& set);

    // Throws GrammarError if no text is in the language, or if a rule begins with itself.
    GrammarPtr finish();

  private:
    friend class Finisher;
    struct Added {
        NodeId from;
        Edge edge;
    };

    void add(NodeId from, Edge edge);
    // Large sets are rules of their own, each once.
    template <class Write>
    void shared(NodeId from, NodeId to, const CharSet& set, bool json, Write write);

    Limits limits_;
    std::uint32_t nodes_ = 0;
    std::vector<Added> edges_;
    std::vector<Repeat> repeats_;
    std::vector<Rule> rules_;
    std::vector<std::string> names_;  // of rules
    std::map<std::pair<bool, std::vector<CharRange>>, RuleId> sets_;
};

}  // namespace cachalot::grammar
