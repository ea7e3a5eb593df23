#include "grammar/builder.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "grammar/finisher.h"

namespace cachalot::grammar {
namespace {

// A character range whose UTF-8 forms are all sequences of these byte ranges.
struct ByteRanges {
    std::array<std::uint8_t, 4> low, high;
    std::size_t length;
};

std::size_t encode(char32_t c, std::array<std::uint8_t, 4>& out) {
    const auto byte = [](char32_t bits) { return static_cast<std::uint8_t>(bits); };
    if (c < 0x80) return out = {byte(c)}, 1;
    if (c < 0x800) return out = {byte(0xC0 | c >> 6), byte(0x80 | (c & 63))}, 2;
    if (c < 0x10000)
        return out = {byte(0xE0 | c >> 12), byte(0x80 | (c >> 6 & 63)), byte(0x80 | (c & 63))}, 3;
    return out = {byte(0xF0 | c >> 18), byte(0x80 | (c >> 12 & 63)), byte(0x80 | (c >> 6 & 63)),
                  byte(0x80 | (c & 63))},
           4;
}

// Cuts a range where the number of bytes changes, and until in all parts the bytes behind the first one that
// differs take all values.
void cut(char32_t low, char32_t high, std::vector<ByteRanges>& parts) {
    for (const char32_t last : {char32_t{0x7F}, char32_t{0x7FF}, char32_t{0xFFFF}})
        if (low <= last && last < high) return cut(low, last, parts), cut(last + 1, high, parts);
    for (const char32_t rest : {char32_t{0x3F}, char32_t{0xFFF}, char32_t{0x3FFFF}}) {
        if (high < 0x80 || (low & ~rest) == (high & ~rest)) continue;
        if ((low & rest) != 0) return cut(low, low | rest, parts), cut((low | rest) + 1, high, parts);
        if ((high & rest) != rest) return cut(low, (high & ~rest) - 1, parts), cut(high & ~rest, high, parts);
    }
    ByteRanges part{};
    part.length = encode(low, part.low);
    encode(high, part.high);
    parts.push_back(part);
}

// The parts are sorted, and where two begin with overlapping bytes, these are equal: so they make a tree.
// Equal subtrees become one.
class CharacterTree {
  public:
    CharacterTree(Builder& builder, NodeId to) : builder_(builder), to_(to) {}

    void write(NodeId from, std::span<const ByteRanges> parts, std::size_t depth) {
        for (const auto& [low, high, to] : edges(parts, depth))
            builder_.range(from, to, static_cast<Symbol>(low), static_cast<Symbol>(high));
    }

  private:
    using Edges = std::vector<std::array<std::uint32_t, 3>>;  // low, high, node

    Edges edges(std::span<const ByteRanges> parts, std::size_t depth) {
        Edges all;
        while (!parts.empty()) {
            const auto low = parts[0].low[depth], high = parts[0].high[depth];
            std::size_t count = 1;
            while (count < parts.size() && parts[count].low[depth] == low && parts[count].high[depth] == high)
                ++count;
            const NodeId to = parts[0].length == depth + 1 ? to_ : node(edges(parts.first(count), depth + 1));
            if (!all.empty() && all.back()[2] == to && all.back()[1] + 1 == low)
                all.back()[1] = high;
            else
                all.push_back({low, high, to});
            parts = parts.subspan(count);
        }
        return all;
    }

    NodeId node(const Edges& edges) {
        const auto [found, fresh] = known_.try_emplace(edges, 0);
        if (fresh) {
            found->second = builder_.node();
            for (const auto& [low, high, to] : edges)
                builder_.range(found->second, to, static_cast<Symbol>(low), static_cast<Symbol>(high));
        }
        return found->second;
    }

    Builder& builder_;
    NodeId to_;
    std::map<Edges, NodeId> known_;
};

}  // namespace

RuleId Builder::rule(std::string name) {
    const NodeId first = node(), last = node();
    rules_.push_back({first, last, 0, false});
    names_.push_back(std::move(name));
    return static_cast<RuleId>(rules_.size() - 1);
}

NodeId Builder::node() {
    if (nodes_ >= limits_.nodes)
        throw GrammarError(fmt::format("the grammar needs more than {} states; simplify it", limits_.nodes));
    return nodes_++;
}

void Builder::add(NodeId from, Edge edge) {
    if (edges_.size() >= 4 * limits_.nodes)
        throw GrammarError(
            fmt::format("the grammar needs more than {} transitions; simplify it", 4 * limits_.nodes));
    edges_.push_back({from, edge});
}

void Builder::text(NodeId from, NodeId to, std::string_view bytes) {
    if (bytes.empty()) return skip(from, to);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const auto byte = static_cast<unsigned char>(bytes[i]);
        const NodeId next = i + 1 == bytes.size() ? to : node();
        range(from, next, byte, byte);
        from = next;
    }
}

void Builder::repeat(NodeId from, NodeId to, RuleId rule, std::uint32_t least, std::uint32_t most) {
    if (most == 0) return skip(from, to);
    if (least == 1 && most == 1) return call(from, to, rule);
    repeats_.push_back({rule, least, most});
    // A node of its own, which is come back to.
    const NodeId counter = node();
    skip(from, counter);
    add(counter, {Edge::repeat, 0, 0, to, static_cast<std::uint32_t>(repeats_.size() - 1)});
}

void Builder::texts(NodeId from, NodeId to, std::vector<std::string> all) {
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    std::vector<NodeId> path = {from};  // the nodes on the way of the text before
    std::string_view before;
    for (const std::string& one : all) {
        const auto differs = std::mismatch(before.begin(), before.end(), one.begin(), one.end()).first;
        path.resize(static_cast<std::size_t>(differs - before.begin()) + 1);
        for (std::size_t i = path.size() - 1; i < one.size(); ++i) {
            const auto byte = static_cast<unsigned char>(one[i]);
            path.push_back(node());
            range(path[i], path[i + 1], byte, byte);
        }
        skip(path.back(), to);
        before = one;
    }
}

template <class Write>
void Builder::shared(NodeId from, NodeId to, const CharSet& set, bool json, Write write) {
    const auto [found, fresh] = sets_.try_emplace({json, set.ranges()}, 0);
    if (fresh) {
        found->second = rule("characters");
        write(begin(found->second), end(found->second));
    }
    call(from, to, found->second);
}

void Builder::characters(NodeId from, NodeId to, const CharSet& set) {
    const auto write_set = [&](NodeId first, NodeId last) {
        std::vector<ByteRanges> parts;
        for (const CharRange& range : set.ranges()) cut(range.low, range.high, parts);
        CharacterTree(*this, last).write(first, parts, 0);
    };
    if (!set.empty() && set.ranges().back().high >= 0x80)
        shared(from, to, set, false, write_set);
    else
        write_set(from, to);
}

void Builder::json_characters(NodeId from, NodeId to, const CharSet& set) {
    static const CharSet kEscaped = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
    const CharSet escaped = set.both(kEscaped), plain = set.without(kEscaped);
    const auto write_set = [&](NodeId first, NodeId last) {
        if (!plain.empty()) characters(first, last, plain);
        std::vector<std::string> escapes;
        for (const CharRange& range : escaped.ranges())
            for (char32_t c = range.low; c <= range.high; ++c) {
                const std::string text = nlohmann::json(std::string(1, static_cast<char>(c))).dump();
                escapes.push_back(text.substr(1, text.size() - 2));
            }
        if (!escapes.empty()) texts(first, last, std::move(escapes));
    };
    if (!escaped.empty())
        shared(from, to, set, true, write_set);
    else
        write_set(from, to);
}

GrammarPtr Builder::finish() { return std::make_shared<const Grammar>(Finisher(*this).program()); }

}  // namespace cachalot::grammar
