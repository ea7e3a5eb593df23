#include "grammar/states.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <tuple>

namespace cachalot::grammar {
namespace {

// Some tenths of a second. What is asked of honest grammars takes thousandths.
constexpr std::size_t kMostWork = 20'000'000;

// A state whose transitions are known needs no more than a look at a table.
constexpr std::size_t kLooksPerStep = 16;

// The only symbol that may follow; nothing if there are several, or the text may end here.
std::optional<Symbol> only_symbol(const Program& program, const State& state) {
    std::optional<Symbol> only;
    if (state.ends) return only;
    for (const Item& item : state.items) {
        const auto& node = program.nodes[item.node];
        for (std::uint32_t i = 0; i < node.edges; ++i) {
            const Edge& edge = program.edges[node.first_edge + i];
            if (edge.kind != Edge::text) continue;
            if (edge.low != edge.high || only.value_or(edge.low) != edge.low) return std::nullopt;
            only = edge.low;
        }
    }
    return only;
}

void set_bit(std::vector<std::uint64_t>& bits, std::int32_t token) {
    bits[static_cast<std::size_t>(token) / 64] |= std::uint64_t{1} << token % 64;
}

bool has_bit(const std::vector<std::uint64_t>& bits, std::int32_t token) {
    return (bits[static_cast<std::size_t>(token) / 64] >> token % 64 & 1) != 0;
}

// In whichever form takes less memory.
std::shared_ptr<const Mask> smallest(std::vector<std::uint64_t> bits) {
    auto mask = std::make_shared<Mask>();
    std::size_t count = 0;
    for (const auto word : bits) count += static_cast<std::size_t>(std::popcount(word));
    if (count >= 2 * bits.size()) {
        mask->bits = std::move(bits);
        return mask;
    }
    mask->few.reserve(count);
    for (std::size_t i = 0; i < bits.size(); ++i)
        for (std::uint64_t left = bits[i]; left != 0; left &= left - 1)
            mask->few.push_back(
                static_cast<std::int32_t>(i * 64 + static_cast<std::size_t>(std::countr_zero(left))));
    return mask;
}

}  // namespace

std::size_t Arena::PlaceHash::operator()(const Place& place) const {
    const std::uint64_t stack = place.stack->id;
    return ((std::uint64_t{place.node} << 32 | stack) + place.count * 0x9E3779B9U) * 0x9E3779B97F4A7C15U >>
           16;
}

void Arena::spend(std::size_t steps) {
    work_ += steps;
    if (work_ > kMostWork)
        throw GrammarError(
            "the grammar reads its text in too many ways; make its parts easier to tell apart");
}

// ---- Steps

const State* Arena::begin() {
    work_ = 0;
    const Stack* bottom = store_.stack({{kBottom, 0, nullptr}});
    return close({{program_.rules[0].begin, 0, bottom}});
}

const State* Arena::next(const State* state, std::span<const Symbol> symbols) {
    work_ = 0;
    for (const Symbol symbol : symbols) {
        state = step(state, program_.classes[symbol]);
        if (state == store_.dead()) return nullptr;
    }
    return state;
}

const State* Arena::step(const State* state, std::uint16_t symbol_class) {
    if (state->next)
        if (const State* known = state->next[symbol_class]) return known;
    return find_step(state, symbol_class);
}

const State* Arena::find_step(const State* state, std::uint16_t symbol_class) {
    const Symbol symbol = program_.class_symbol[symbol_class];
    std::vector<Place> places;
    for (const auto& [node, stack] : state->items) {
        const auto& edges = program_.nodes[node];
        for (std::uint32_t i = 0; i < edges.edges; ++i) {
            const Edge& edge = program_.edges[edges.first_edge + i];
            if (edge.kind == Edge::text && edge.low <= symbol && symbol <= edge.high)
                places.push_back({edge.to, 0, stack});
        }
        spend(1 + edges.edges / 4);
    }
    const State* to = places.empty() ? store_.dead() : close(std::move(places));
    if (!state->next) {
        state->next = std::make_unique<const State*[]>(program_.class_count);
        store_.count_bytes(program_.class_count * sizeof(const State*));
    }
    return state->next[symbol_class] = to;
}

// ---- Closing

const State* Arena::close(std::vector<Place> open) {
    items_.clear();
    calls_.clear();
    seen_.clear();
    ends_ = false;
    while (!open.empty()) {
        const Place at = open.back();
        open.pop_back();
        if (!seen_.insert(at).second) continue;
        spend(1);
        if (program_.nodes[at.node].is_end) {
            spend(at.stack->frames.size());
            for (const auto& [node, count, under] : at.stack->frames) {
                if (node == kBottom)
                    ends_ = true;
                else
                    open.push_back({node, count, under});
            }
        }
        follow_edges(at, open);
    }
    enter_rules();
    return store_.state(std::move(items_), ends_);
}

void Arena::follow_edges(const Place& place, std::vector<Place>& open) {
    const auto& node = program_.nodes[place.node];
    bool reads = false;
    for (std::uint32_t i = 0; i < node.edges; ++i) {
        const Edge& edge = program_.edges[node.first_edge + i];
        const Place behind = {edge.to, 0, place.stack};
        switch (edge.kind) {
            case Edge::text: reads = true; break;
            case Edge::skip: open.push_back(behind); break;
            case Edge::call:
                if (program_.rules[edge.what].empty) open.push_back(behind);
                call(edge.what, {edge.to, 0, place.stack});
                break;
            case Edge::repeat: {
                const auto& [rule, least, most] = program_.repeats[edge.what];
                if (place.count >= least) open.push_back(behind);
                if (place.count >= most) break;
                // Without a limit above it is enough to know that the lower one is reached.
                const std::uint32_t count =
                    most == kNoLimit ? std::min(place.count + 1, least) : place.count + 1;
                call(rule, {place.node, count, place.stack});
            }
        }
    }
    if (reads) items_.push_back({place.node, place.stack});
}

bool Arena::enters_first(const Call& a, const Call& b) const {
    return program_.rules[a.rule].order < program_.rules[b.rule].order;
}

void Arena::call(RuleId rule, Frame frame) {
    calls_.push_back({rule, frame});
    std::push_heap(calls_.begin(), calls_.end(),
                   [&](const Call& a, const Call& b) { return enters_first(b, a); });
}

void Arena::enter_rules() {
    std::vector<Place> open;
    while (!calls_.empty()) {
        const RuleId rule = calls_.front().rule;
        std::vector<Frame> frames;
        while (!calls_.empty() && calls_.front().rule == rule) {
            std::pop_heap(calls_.begin(), calls_.end(),
                          [&](const Call& a, const Call& b) { return enters_first(b, a); });
            const Frame frame = calls_.back().frame;
            calls_.pop_back();
            // Coming back to a place from which there is only the way back: it is left out, and stacks of
            // lists that are written as rules calling themselves last do not grow.
            if (program_.nodes[frame.node].is_tail)
                frames.insert(frames.end(), frame.under->frames.begin(), frame.under->frames.end());
            else
                frames.push_back(frame);
        }
        spend(1 + frames.size());
        const Stack* stack = store_.stack(std::move(frames));
        seen_.clear();
        open.push_back({program_.rules[rule].begin, 0, stack});
        while (!open.empty()) {
            const Place at = open.back();
            open.pop_back();
            if (!seen_.insert(at).second) continue;
            spend(1);
            follow_edges(at, open);
        }
    }
}

// ---- Masks

const State* Arena::settled(const State* state, std::size_t part) {
    std::vector<Item> items = state->items;
    for (Item& item : items) item.stack = item.stack->settled[part];
    return items == state->items ? state : store_.state(std::move(items), state->ends);
}

// Adds the tokens of one of the trees.
void Arena::walk(const State* state, const TokenTrie& trie, std::size_t part,
                 std::vector<std::uint64_t>& bits) {
    const auto& nodes = trie.nodes(part);
    std::vector<const State*> path(trie.longest() + 1, state);  // by depth
    std::size_t looks = 0;
    for (std::size_t i = 0; i < nodes.size();) {
        const TokenTrie::Node& node = nodes[i];
        const State* to = step(path[node.depth - std::size_t{1}], program_.classes[node.byte]);
        if (++looks % kLooksPerStep == 0) spend(1);
        if (to == store_.dead()) {
            i = node.end;
            continue;
        }
        path[node.depth] = to;
        if (node.token >= 0) set_bit(bits, node.token);
        ++i;
    }
}

// Most tokens are short, and for them many states are alike that differ for long ones: so a mask is made of
// two, of which the larger part is often known.
std::shared_ptr<const Mask> Arena::mask(const State* state, const TokenTrie& trie) {
    const State* whole = trie.longest() > kReaches.back() ? state : settled(state, kReaches.size() - 1);
    auto& [trie_of_whole, known] = masks_[whole];
    if (trie_of_whole == &trie && known) return known;
    work_ = 0;
    const State* near = settled(state, 0);
    auto& [trie_of_short, of_short] = short_masks_[near];
    if (trie_of_short != &trie || !of_short) {
        std::vector<std::uint64_t> bits((trie.vocabulary() + 63) / 64);
        walk(near, trie, 0, bits);
        of_short = kept(std::move(bits));
        trie_of_short = &trie;
    }
    std::vector<std::uint64_t> bits = of_short->bits;
    if (bits.empty()) bits.resize((trie.vocabulary() + 63) / 64);
    for (const auto token : of_short->few) set_bit(bits, token);
    walk(whole, trie, 1, bits);
    for (const auto& [first, other] : trie.doubles())
        if (has_bit(bits, first)) set_bit(bits, other);
    known = kept(std::move(bits));
    trie_of_whole = &trie;
    return known;
}

std::shared_ptr<const Mask> Arena::kept(std::vector<std::uint64_t> bits) {
    auto mask = smallest(std::move(bits));
    mask_bytes_ += sizeof(Mask) + mask->bits.size() * 8 + mask->few.size() * 4;
    return mask;
}

// ---- Arenas

const State* Arena::adopt(const State* foreign) {
    // Stacks are older than those that lie on them.
    std::vector<const Stack*> stacks;
    std::unordered_map<const Stack*, const Stack*> ours;
    const auto visit = [&](const Stack* stack) {
        if (stack && ours.try_emplace(stack, nullptr).second) stacks.push_back(stack);
    };
    for (const Item& item : foreign->items) visit(item.stack);
    for (std::size_t i = 0; i < stacks.size(); ++i) {
        const Stack* stack = stacks[i];
        for (const Frame& frame : stack->frames) visit(frame.under);
    }
    std::sort(stacks.begin(), stacks.end(), [](const Stack* a, const Stack* b) { return a->id < b->id; });
    for (const Stack* stack : stacks) {
        std::vector<Frame> frames = stack->frames;
        for (Frame& frame : frames)
            if (frame.under) frame.under = ours.at(frame.under);
        ours[stack] = store_.stack(std::move(frames));
    }
    std::vector<Item> items = foreign->items;
    for (Item& item : items) item.stack = ours.at(item.stack);
    const State* state = store_.state(std::move(items), foreign->ends);
    adopted_bytes_ = bytes();
    return state;
}

States::States(const Program& program) : program_(program), arena_(std::make_shared<Arena>(program)) {}

Position States::begin() {
    const std::scoped_lock lock(mutex_);
    if (arena_->full()) arena_ = std::make_shared<Arena>(program_);
    return {arena_, arena_->begin()};
}

Position States::next(const Position& from, std::span<const Symbol> symbols) {
    if (!from.state) return from;
    const std::scoped_lock lock(mutex_);
    if (!from.arena->full()) return {from.arena, from.arena->next(from.state, symbols)};
    if (arena_->full()) arena_ = std::make_shared<Arena>(program_);
    const State* adopted = arena_->adopt(from.state);
    return {arena_, arena_->next(adopted, symbols)};
}

std::shared_ptr<const Mask> States::mask(const Position& at, const TokenTrie& trie) {
    const std::scoped_lock lock(mutex_);
    return at.arena->mask(at.state, trie);
}

std::vector<Symbol> States::only_way(const Position& from, std::size_t most) {
    std::vector<Symbol> way;
    const std::scoped_lock lock(mutex_);
    const State* at = from.state;
    while (at && way.size() < most) {
        const auto symbol = only_symbol(program_, *at);
        if (!symbol) break;
        way.push_back(*symbol);
        at = from.arena->next(at, {&*symbol, 1});
    }
    return way;
}

}  // namespace cachalot::grammar
