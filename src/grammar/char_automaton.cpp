#include "grammar/char_automaton.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "text/utf8.h"

namespace cachalot::grammar {
namespace {

using Node = CharAutomaton::Node;

void check_size(std::size_t nodes, std::size_t most) {
    if (nodes > most)
        throw GrammarError(
            fmt::format("the pattern, with the lengths and patterns that hold beside it, needs more than "
                        "{} states; simplify it",
                        most));
}

// A pattern as it is read, with places in the text still in it.
class PatternWriter {
  public:
    struct Raw {
        std::vector<std::pair<CharSet, std::uint32_t>> sets;
        std::vector<std::uint32_t> skips, begins, ends;  // passed anywhere, at the text's begin, at its end
    };

    explicit PatternWriter(std::size_t most) : most_(most) {}

    std::uint32_t node() {
        check_size(nodes.size() + 1, most_);
        nodes.emplace_back();
        return static_cast<std::uint32_t>(nodes.size() - 1);
    }

    // From one node to a new one, which is returned.
    std::uint32_t write(std::uint32_t from, const Expr& expr) {
        switch (expr.kind) {
            case Expr::sequence:
                for (const Expr& part : expr.parts) from = write(from, part);
                return from;
            case Expr::repeat: return write_repeat(from, expr);
            default: break;
        }
        std::vector<std::uint32_t> last;
        for (const Expr& part : expr.parts) last.push_back(write(from, part));
        const std::uint32_t to = node();
        for (const auto at : last) nodes[at].skips.push_back(to);
        if (expr.kind == Expr::characters) nodes[from].sets.emplace_back(expr.set, to);
        if (expr.kind == Expr::begin) nodes[from].begins.push_back(to);
        if (expr.kind == Expr::end) nodes[from].ends.push_back(to);
        return to;
    }

    std::vector<Raw> nodes;

  private:
    std::uint32_t write_repeat(std::uint32_t from, const Expr& expr) {
        const Expr& what = expr.parts.front();
        for (std::uint32_t i = 0; i < expr.least; ++i) {
            const std::size_t before = nodes.size();
            from = write(from, what);
            if (nodes.size() == before) break;  // nothing, as often as you like
        }
        if (expr.most == kNoLimit) {
            const std::uint32_t loop = node();
            nodes[from].skips.push_back(loop);
            const std::uint32_t last = write(loop, what);
            nodes[last].skips.push_back(loop);
            return loop;
        }
        std::vector<std::uint32_t> left = {from};
        for (std::uint32_t i = expr.least; i < expr.most; ++i) {
            const std::size_t before = nodes.size();
            left.push_back(from = write(from, what));
            if (nodes.size() == before) break;
        }
        const std::uint32_t to = node();
        for (const auto at : left) nodes[at].skips.push_back(to);
        return to;
    }

    std::size_t most_;
};

}  // namespace

// Makes automata node by node: a node stands for a key, and is made when it is first asked for.
class CharAutomatonMaker {
  public:
    explicit CharAutomatonMaker(std::size_t most) : most_(most) {}

    template <class Key>
    CharAutomaton make(
        Key begin, const std::function<void(const Key&, Node&, std::function<std::uint32_t(Key)>)>& fill) {
        CharAutomaton automaton;
        std::map<Key, std::uint32_t> known;
        std::vector<Key> keys;
        const auto node = [&](Key key) {
            const auto [found, fresh] = known.try_emplace(key, static_cast<std::uint32_t>(keys.size()));
            if (fresh) {
                check_size(keys.size() + 1, most_);
                keys.push_back(std::move(key));
            }
            return found->second;
        };
        node(std::move(begin));
        for (std::size_t i = 0; i < keys.size(); ++i) {
            Node made;
            fill(Key(keys[i]), made, node);
            automaton.nodes_.push_back(std::move(made));
        }
        return automaton;
    }

    static const Node& node(const CharAutomaton& automaton, std::uint32_t id) { return automaton.nodes_[id]; }

  private:
    std::size_t most_;
};

namespace {

// Whether a text can still begin, goes on, or has ended: which decides what ^ and $ let pass.
enum Phase : std::uint8_t { at_begin, inside, at_end };

CharAutomaton automaton_of(const Expr& expr, bool open_begin, bool open_end, std::size_t most) {
    PatternWriter pattern(most);
    std::uint32_t first = pattern.node();
    if (open_begin) {
        pattern.nodes[first].sets.emplace_back(CharSet::all(), first);
        const std::uint32_t begin = pattern.node();
        pattern.nodes[first].skips.push_back(begin);
        first = begin;
    }
    std::uint32_t last = pattern.write(first, expr);
    if (open_end) {
        const std::uint32_t loop = pattern.node();
        pattern.nodes[last].skips.push_back(loop);
        pattern.nodes[loop].sets.emplace_back(CharSet::all(), loop);
        last = loop;
    }
    using Key = std::pair<std::uint32_t, Phase>;
    CharAutomatonMaker maker(3 * most);
    return maker.make<Key>({0, at_begin}, [&](const Key& key, Node& node, const auto& node_of) {
        const auto& raw = pattern.nodes[key.first];
        const Phase phase = key.second;
        node.accepts = key.first == last;
        for (const auto to : raw.skips) node.skips.push_back(node_of({to, phase}));
        for (const auto to : raw.ends) node.skips.push_back(node_of({to, at_end}));
        if (phase == at_begin)
            for (const auto to : raw.begins) node.skips.push_back(node_of({to, at_begin}));
        if (phase != at_end)
            for (const auto& [set, to] : raw.sets) node.edges.push_back({set, node_of({to, inside})});
    });
}

}  // namespace

CharAutomaton CharAutomaton::of(const Regex& regex, Where where, std::size_t most) {
    CharAutomaton result = automaton_of(regex.main, where == Where::anywhere, where == Where::anywhere, most);
    for (const auto& [what, negative] : regex.ahead) {
        const CharAutomaton ahead = automaton_of(what, false, true, most);
        result = both(result, negative ? ahead.inverted(most) : ahead, most);
    }
    return result;
}

CharAutomaton CharAutomaton::of_length(std::uint32_t least, std::uint32_t longest, std::size_t most) {
    const std::uint32_t last = longest == kNoLimit ? least : longest;
    check_size(last + std::size_t{1}, most);
    CharAutomaton result;
    result.nodes_.resize(last + std::size_t{1});
    for (std::uint32_t i = 0; i <= last; ++i) {
        Node& node = result.nodes_[i];
        node.accepts = i >= least;
        if (i < last) node.edges.push_back({CharSet::all(), i + 1});
    }
    if (longest == kNoLimit) result.nodes_[last].edges.push_back({CharSet::all(), last});
    return result;
}

CharAutomaton CharAutomaton::of_texts(const std::vector<std::string>& texts, std::size_t most) {
    CharAutomaton result;
    result.nodes_.emplace_back();
    std::map<std::pair<std::uint32_t, char32_t>, std::uint32_t> known;
    for (std::string_view text : texts) {
        std::uint32_t at = 0;
        while (!text.empty()) {
            const Utf8Char c = decode_utf8(text);
            text.remove_prefix(c.length);
            const auto next = static_cast<std::uint32_t>(result.nodes_.size());
            const auto [found, fresh] = known.try_emplace({at, c.code_point}, next);
            if (fresh) {
                check_size(next + std::size_t{1}, most);
                result.nodes_[at].edges.push_back({CharSet::of(c.code_point), next});
                result.nodes_.emplace_back();
            }
            at = found->second;
        }
        result.nodes_[at].accepts = true;
    }
    return result;
}

CharAutomaton CharAutomaton::both(const CharAutomaton& a, const CharAutomaton& b, std::size_t most) {
    using Key = std::pair<std::uint32_t, std::uint32_t>;
    CharAutomatonMaker maker(most);
    return maker.make<Key>({0, 0}, [&](const Key& key, Node& node, const auto& node_of) {
        const Node &left = a.nodes_[key.first], &right = b.nodes_[key.second];
        node.accepts = left.accepts && right.accepts;
        for (const auto to : left.skips) node.skips.push_back(node_of({to, key.second}));
        for (const auto to : right.skips) node.skips.push_back(node_of({key.first, to}));
        for (const Edge& x : left.edges)
            for (const Edge& y : right.edges) {
                CharSet set = x.set.both(y.set);
                if (!set.empty()) node.edges.push_back({std::move(set), node_of({x.to, y.to})});
            }
    });
}

// Adds what is reached along skips.
void CharAutomaton::close(std::vector<std::uint32_t>& set) const {
    std::vector<bool> seen(nodes_.size());
    std::vector<std::uint32_t> open = std::exchange(set, {});
    while (!open.empty()) {
        const std::uint32_t at = open.back();
        open.pop_back();
        if (seen[at]) continue;
        seen[at] = true;
        set.push_back(at);
        open.insert(open.end(), nodes_[at].skips.begin(), nodes_[at].skips.end());
    }
    std::sort(set.begin(), set.end());
}

CharAutomaton CharAutomaton::determinised(std::size_t most) const {
    using Key = std::vector<std::uint32_t>;
    CharAutomatonMaker maker(most);
    std::size_t work = 0;
    Key begin = {0};
    close(begin);
    return maker.make<Key>(begin, [&](const Key& key, Node& node, const auto& node_of) {
        // Where sets begin and behind their ends, what is reached changes.
        std::map<char32_t, std::vector<std::pair<std::uint32_t, bool>>> changes;
        for (const auto at : key) {
            node.accepts = node.accepts || nodes_[at].accepts;
            for (const Edge& edge : nodes_[at].edges)
                for (const CharRange& range : edge.set.ranges()) {
                    changes[range.low].emplace_back(edge.to, true);
                    changes[range.high + 1].emplace_back(edge.to, false);
                    check_size(work += 4, 64 * most);
                }
        }
        std::map<Key, CharSet> reached;
        std::map<std::uint32_t, int> now;
        for (auto at = changes.begin(); at != changes.end(); ++at) {
            for (const auto& [to, begins] : at->second)
                if ((now[to] += begins ? 1 : -1) == 0) now.erase(to);
            if (now.empty()) continue;
            Key to;
            for (const auto& [id, times] : now) to.push_back(id);
            check_size(work += to.size(), 64 * most);
            reached[to].add(at->first, std::next(at)->first - 1);
        }
        for (auto& [to, set] : reached) {
            Key closed = to;
            close(closed);
            check_size(work += nodes_.size() / 16 + closed.size(), 64 * most);
            if (!set.empty()) node.edges.push_back({set, node_of(std::move(closed))});
        }
    });
}

CharAutomaton CharAutomaton::inverted(std::size_t most) const {
    CharAutomaton result = determinised(most);
    const auto other = static_cast<std::uint32_t>(result.nodes_.size());
    result.nodes_.emplace_back();
    for (Node& node : result.nodes_) {
        CharSet known;
        for (const Edge& edge : node.edges) known.add(edge.set);
        CharSet rest = known.inverted();
        if (!rest.empty()) node.edges.push_back({std::move(rest), other});
        node.accepts = !node.accepts;
    }
    return result;
}

bool CharAutomaton::empty() const {
    std::vector<bool> seen(nodes_.size());
    std::vector<std::uint32_t> open = {0};
    while (!open.empty()) {
        const std::uint32_t at = open.back();
        open.pop_back();
        if (seen[at]) continue;
        seen[at] = true;
        if (nodes_[at].accepts) return false;
        open.insert(open.end(), nodes_[at].skips.begin(), nodes_[at].skips.end());
        for (const Edge& edge : nodes_[at].edges) open.push_back(edge.to);
    }
    return true;
}

bool CharAutomaton::accepts(std::string_view text) const {
    std::vector<std::uint32_t> now = {0};
    close(now);
    while (!text.empty()) {
        const Utf8Char c = decode_utf8(text);
        text.remove_prefix(c.length);
        std::vector<std::uint32_t> next;
        for (const auto at : now)
            for (const Edge& edge : nodes_[at].edges)
                if (edge.set.has(c.code_point)) next.push_back(edge.to);
        close(next);
        now = std::move(next);
    }
    return std::any_of(now.begin(), now.end(), [&](std::uint32_t at) { return nodes_[at].accepts; });
}

void CharAutomaton::write(Builder& builder, NodeId from, NodeId to, As as) const {
    std::vector<NodeId> ids(nodes_.size());
    for (NodeId& id : ids) id = builder.node();
    builder.skip(from, ids[0]);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const Node& node = nodes_[i];
        if (node.accepts) builder.skip(ids[i], to);
        for (const auto skip : node.skips) builder.skip(ids[i], ids[skip]);
        for (const Edge& edge : node.edges) {
            if (as == As::utf8)
                builder.characters(ids[i], ids[edge.to], edge.set);
            else
                builder.json_characters(ids[i], ids[edge.to], edge.set);
        }
    }
}

}  // namespace cachalot::grammar
