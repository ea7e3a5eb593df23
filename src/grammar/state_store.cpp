#include "grammar/state_store.h"

#include <algorithm>
#include <utility>

namespace cachalot::grammar {
namespace {

void mix(std::uint64_t& hash, std::uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 29;
}

std::uint64_t id_of(const Stack* stack) { return stack ? stack->id + std::uint64_t{1} : 0; }

template <class Part>
void sort_unique(std::vector<Part>& parts, auto key) {
    std::sort(parts.begin(), parts.end(), [&](const Part& a, const Part& b) { return key(a) < key(b); });
    parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
    parts.shrink_to_fit();
}

// An object in its store and in the table of known ones.
constexpr std::size_t kOverhead = 64;

}  // namespace

std::size_t StateStore::StackParts::hash(const Stack& stack) {
    std::uint64_t hash = 1;
    for (const auto& [node, count, under] : stack.frames) {
        mix(hash, std::uint64_t{count} << 32 | node);
        mix(hash, id_of(under));
    }
    return hash;
}

std::size_t StateStore::StateParts::hash(const State& state) {
    std::uint64_t hash = state.ends;
    for (const auto& [node, stack] : state.items) mix(hash, id_of(stack) << 32 | node);
    return hash;
}

StateStore::StateStore(const Program& program) : program_(program) {
    for (const Repeat& repeat : program.repeats) counts_ |= repeat.least > 0 || repeat.most != kNoLimit;
}

// Two counts are as good as equal if for as many times more as a token can hold they are on the same side of
// both limits.
std::uint32_t StateStore::settled_count(const Frame& frame, std::size_t reach) const {
    if (frame.count == 0) return 0;
    const Edge& edge = program_.edges[program_.nodes[frame.node].first_edge];
    const Repeat& repeat = program_.repeats[edge.what];
    const std::uint64_t furthest = frame.count + reach;
    if (furthest < repeat.least) return 0;
    if (frame.count >= repeat.least && furthest < repeat.most) return repeat.least;
    return frame.count;
}

const Stack* StateStore::stack(std::vector<Frame> frames) {
    sort_unique(frames, [](const Frame& f) { return std::tuple(f.node, f.count, id_of(f.under)); });
    Stack sought{std::move(frames), 0, {}};
    if (const auto found = known_stacks_.find(&sought); found != known_stacks_.end()) return *found;
    sought.id = static_cast<std::uint32_t>(stacks_.size());
    Stack* made = &stacks_.emplace_back(std::move(sought));
    bytes_ += sizeof(Stack) + kOverhead + made->frames.size() * sizeof(Frame);
    known_stacks_.insert(made);
    made->settled.fill(made);
    for (std::size_t i = 0; counts_ && i < kReaches.size(); ++i) {
        std::vector<Frame> settled = made->frames;
        for (Frame& frame : settled) {
            if (frame.node == kBottom) continue;
            frame.count = settled_count(frame, kReaches[i]);
            frame.under = frame.under->settled[i];
        }
        if (settled != made->frames) made->settled[i] = stack(std::move(settled));
    }
    return made;
}

const State* StateStore::state(std::vector<Item> items, bool ends) {
    if (items.empty() && !ends) return &dead_;
    sort_unique(items, [](const Item& i) { return std::pair(i.node, id_of(i.stack)); });
    State sought{std::move(items), ends};
    if (const auto found = known_states_.find(&sought); found != known_states_.end()) return *found;
    const State* made = &states_.emplace_back(std::move(sought));
    bytes_ += sizeof(State) + kOverhead + made->items.size() * sizeof(Item);
    known_states_.insert(made);
    return made;
}

}  // namespace cachalot::grammar
