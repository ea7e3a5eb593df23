#include "grammar/finisher.h"

#include <algorithm>
#include <bitset>
#include <utility>

namespace cachalot::grammar {
namespace {

constexpr std::uint32_t kUnseen = ~std::uint32_t{0};

// The edges to each node, as lists of their indices.
struct EdgesTo {
    template <class Edges>
    EdgesTo(const Edges& edges, std::size_t nodes) : first(nodes, kUnseen), next(edges.size()) {
        for (std::uint32_t i = 0; i < edges.size(); ++i) next[i] = std::exchange(first[edges[i].edge.to], i);
    }
    std::vector<std::uint32_t> first;  // [nodes]
    std::vector<std::uint32_t> next;   // [edges]
};

}  // namespace

Finisher::Finisher(const Builder& builder)
    : program_(std::make_unique<Program>()), added_(builder.edges_), names_(builder.names_) {
    program_->nodes.resize(builder.nodes_);
    program_->repeats = builder.repeats_;
    program_->rules = builder.rules_;
    for (const Rule& rule : program_->rules) program_->nodes[rule.end].is_end = true;
}

std::unique_ptr<const Program> Finisher::program() {
    collect_edges();
    find_empty_rules();
    drop_dead_ends();
    order_rules();
    find_tails();
    divide_symbols();
    return std::move(program_);
}

// Sorts the edges by their nodes, in the order in which they were added.
void Finisher::collect_edges() {
    auto& nodes = program_->nodes;
    for (auto& node : nodes) node.edges = 0;
    for (const auto& [from, edge] : added_) ++nodes[from].edges;
    std::uint32_t begin = 0;
    for (auto& node : nodes) {
        node.first_edge = begin;
        begin += std::exchange(node.edges, 0);
    }
    program_->edges.resize(added_.size());
    for (const auto& [from, edge] : added_)
        program_->edges[nodes[from].first_edge + nodes[from].edges++] = edge;
}

RuleId Finisher::called(const Edge& edge) const {
    return edge.kind == Edge::repeat ? program_->repeats[edge.what].rule : edge.what;
}

// Whether the edge can be passed without reading, as far as is known.
bool Finisher::is_empty(const Edge& edge) const {
    switch (edge.kind) {
        case Edge::text: return false;
        case Edge::skip: return true;
        case Edge::call: return program_->rules[edge.what].empty;
        default: {
            const Repeat& repeat = program_->repeats[edge.what];
            return repeat.least == 0 || program_->rules[repeat.rule].empty;
        }
    }
}

// From the beginning of each rule along edges that read nothing; where a call is in the way of which nothing
// is known yet, the search goes on as soon as its rule turns out to be empty.
void Finisher::find_empty_rules() {
    const auto& nodes = program_->nodes;
    auto& rules = program_->rules;
    std::vector<RuleId> owner(nodes.size(), kUnseen);  // of nodes that are reached without reading
    std::vector<std::vector<std::pair<RuleId, NodeId>>> waiting(rules.size());
    std::vector<std::pair<RuleId, NodeId>> open;
    for (RuleId rule = 0; rule < rules.size(); ++rule) open.emplace_back(rule, rules[rule].begin);
    while (!open.empty()) {
        const auto [rule, at] = open.back();
        open.pop_back();
        if (owner[at] != kUnseen) continue;
        owner[at] = rule;
        if (at == rules[rule].end) {
            rules[rule].empty = true;
            open.insert(open.end(), waiting[rule].begin(), waiting[rule].end());
            waiting[rule].clear();
        }
        for (std::uint32_t i = 0; i < nodes[at].edges; ++i) {
            const Edge& edge = program_->edges[nodes[at].first_edge + i];
            if (is_empty(edge))
                open.emplace_back(rule, edge.to);
            else if (edge.kind != Edge::text)
                waiting[called(edge)].emplace_back(rule, edge.to);
        }
    }
    // Times that read nothing need not be counted.
    for (Repeat& repeat : program_->repeats)
        if (rules[repeat.rule].empty) repeat.least = 0;
}

// Backwards from the ends of the rules: an edge counts as soon as what it calls is known to come to an end.
void Finisher::drop_dead_ends() {
    const auto& nodes = program_->nodes;
    const auto& rules = program_->rules;
    std::vector<std::vector<NodeId>> waiting(rules.size());  // nodes that a rule makes good
    std::vector<bool> good(nodes.size()), good_rule(rules.size());
    std::vector<RuleId> begins(nodes.size(), kUnseen);
    std::vector<NodeId> open;
    for (RuleId rule = 0; rule < rules.size(); ++rule) {
        begins[rules[rule].begin] = rule;
        open.push_back(rules[rule].end);
    }
    const EdgesTo edges_to(added_, nodes.size());
    while (!open.empty()) {
        const NodeId at = open.back();
        open.pop_back();
        if (good[at]) continue;
        good[at] = true;
        if (const RuleId rule = begins[at]; rule != kUnseen) {
            good_rule[rule] = true;
            open.insert(open.end(), waiting[rule].begin(), waiting[rule].end());
        }
        for (auto i = edges_to.first[at]; i != kUnseen; i = edges_to.next[i]) {
            const auto& [from, edge] = added_[i];
            if (edge.kind == Edge::text || is_empty(edge) || good_rule[called(edge)])
                open.push_back(from);
            else
                waiting[called(edge)].push_back(from);
        }
    }
    if (!good_rule[0]) throw GrammarError("nothing can satisfy this grammar");
    for (auto& added : added_) {
        Edge& edge = added.edge;
        if (edge.kind == Edge::repeat && is_empty(edge) && !good_rule[called(edge)]) edge.kind = Edge::skip;
    }
    std::erase_if(added_, [&](const Builder::Added& added) {
        const bool calls = added.edge.kind == Edge::call || added.edge.kind == Edge::repeat;
        return !good[added.edge.to] || (calls && !good_rule[called(added.edge)]);
    });
    collect_edges();
}

// The rules that are called from the beginning of a rule before anything is read.
std::vector<RuleId> Finisher::first_calls(RuleId rule, std::vector<std::uint32_t>& seen) const {
    std::vector<RuleId> calls;
    std::vector<NodeId> open = {program_->rules[rule].begin};
    while (!open.empty()) {
        const NodeId at = open.back();
        open.pop_back();
        if (std::exchange(seen[at], rule) == rule) continue;
        const auto& node = program_->nodes[at];
        for (std::uint32_t i = 0; i < node.edges; ++i) {
            const Edge& edge = program_->edges[node.first_edge + i];
            if (is_empty(edge)) open.push_back(edge.to);
            if (edge.kind == Edge::call || edge.kind == Edge::repeat) calls.push_back(called(edge));
        }
    }
    return calls;
}

std::vector<bool> Finisher::reached_rules() const {
    std::vector<bool> rules(program_->rules.size()), seen(program_->nodes.size());
    std::vector<NodeId> open;
    const auto reach = [&](RuleId rule) {
        if (!rules[rule]) open.push_back(program_->rules[rule].begin);
        rules[rule] = true;
    };
    reach(0);
    while (!open.empty()) {
        const NodeId at = open.back();
        open.pop_back();
        if (seen[at]) continue;
        seen[at] = true;
        const auto& node = program_->nodes[at];
        for (std::uint32_t i = 0; i < node.edges; ++i) {
            const Edge& edge = program_->edges[node.first_edge + i];
            open.push_back(edge.to);
            if (edge.kind == Edge::call || edge.kind == Edge::repeat) reach(called(edge));
        }
    }
    return rules;
}

// Depth first, without recursion. A rule that is met again while it is open begins with itself.
void Finisher::order_rules() {
    auto& rules = program_->rules;
    enum : std::uint8_t { fresh, entered, left };
    std::vector<std::uint8_t> state(rules.size(), fresh);
    std::vector<std::uint32_t> seen(program_->nodes.size(), kUnseen);
    struct Visit {
        RuleId rule;
        std::vector<RuleId> calls;
    };
    const std::vector<bool> reached = reached_rules();
    auto number = static_cast<std::uint32_t>(rules.size());
    for (RuleId root = 0; root < rules.size(); ++root) {
        if (state[root] != fresh || !reached[root]) continue;
        state[root] = entered;
        std::vector<Visit> path;
        path.push_back({root, first_calls(root, seen)});
        while (!path.empty()) {
            auto& [rule, calls] = path.back();
            if (calls.empty()) {
                state[rule] = left;
                rules[rule].order = --number;
                path.pop_back();
                continue;
            }
            const RuleId next = calls.back();
            calls.pop_back();
            if (state[next] == entered)
                throw GrammarError(
                    fmt::format("rule \"{}\" begins with itself, through other rules; rewrite it as a "
                                "repetition",
                                names_[next]));
            if (state[next] == left) continue;
            state[next] = entered;
            path.push_back({next, first_calls(next, seen)});
        }
    }
}

// Backwards along skips from the ends of rules.
void Finisher::find_tails() {
    auto& nodes = program_->nodes;
    std::vector<std::uint32_t> left(nodes.size());  // edges that are not known to lead to a tail
    std::vector<NodeId> open;
    for (NodeId id = 0; id < nodes.size(); ++id) {
        if (nodes[id].is_end) open.push_back(id);
        left[id] = nodes[id].edges;
    }
    const EdgesTo edges_to(added_, nodes.size());
    while (!open.empty()) {
        const NodeId at = open.back();
        open.pop_back();
        nodes[at].is_tail = true;
        for (auto i = edges_to.first[at]; i != kUnseen; i = edges_to.next[i]) {
            const auto& [from, edge] = added_[i];
            if (edge.kind == Edge::skip && --left[from] == 0 && !nodes[from].is_end) open.push_back(from);
        }
    }
}

void Finisher::divide_symbols() {
    std::bitset<kSymbols + 1> begins;  // of a class
    begins.set(0);
    begins.set(kFirstMark);
    for (const Edge& edge : program_->edges) {
        if (edge.kind != Edge::text) continue;
        begins.set(edge.low);
        begins.set(edge.high + std::size_t{1});
    }
    std::uint32_t count = 0;
    for (std::size_t symbol = 0; symbol < kSymbols; ++symbol) {
        if (begins[symbol]) program_->class_symbol[count++] = static_cast<Symbol>(symbol);
        program_->classes[symbol] = static_cast<std::uint16_t>(count - 1);
    }
    program_->class_count = count;
}

}  // namespace cachalot::grammar
