// Stacks and states (states.h), each of which exists once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_set>
#include <vector>

#include "grammar/program.h"
#include "grammar/token_trie.h"

namespace cachalot::grammar {

struct Stack;

// A place to come back to when the end of a rule is reached. At a repeat edge `count` times are read then.
struct Frame {
    NodeId node;  // kBottom: the whole is read
    std::uint32_t count;
    const Stack* under;  // null at the bottom
    bool operator==(const Frame&) const = default;
};
inline constexpr NodeId kBottom = ~NodeId{0};

struct Stack {
    std::vector<Frame> frames;  // sorted
    std::uint32_t id;           // greater than those of the stacks under it
    // With counts that texts of up to kReaches[i] bytes cannot tell apart made equal.
    std::array<const Stack*, 2> settled;
};

struct Item {
    NodeId node;  // from which something is read
    const Stack* stack;
    bool operator==(const Item&) const = default;
};

struct State {
    std::vector<Item> items;  // sorted
    bool ends;                // the text may end here
    // [classes] null: not known yet; a state without items that does not end: nothing may follow. Made when
    // it is first needed.
    mutable std::unique_ptr<const State*[]> next = {};
};

class StateStore {
  public:
    explicit StateStore(const Program& program);

    // Frames and items in any order, equal ones several times.
    const Stack* stack(std::vector<Frame> frames);
    const State* state(std::vector<Item> items, bool ends);

    const State* dead() const { return &dead_; }
    void count_bytes(std::size_t bytes) { bytes_ += bytes; }
    std::size_t bytes() const { return bytes_; }

  private:
    std::uint32_t settled_count(const Frame& frame, std::size_t reach) const;

    template <class T, class Parts>
    struct ByParts {
        using is_transparent = void;
        Parts parts;
        std::size_t operator()(const T* one) const { return parts.hash(*one); }
        bool operator()(const T* a, const T* b) const { return parts.equal(*a, *b); }
    };
    struct StackParts {
        static std::size_t hash(const Stack& stack);
        static bool equal(const Stack& a, const Stack& b) { return a.frames == b.frames; }
    };
    struct StateParts {
        static std::size_t hash(const State& state);
        static bool equal(const State& a, const State& b) { return a.ends == b.ends && a.items == b.items; }
    };
    template <class T, class Parts>
    using Known = std::unordered_set<const T*, ByParts<T, Parts>, ByParts<T, Parts>>;

    const Program& program_;
    bool counts_ = false;  // some repetition has limits
    std::deque<Stack> stacks_;
    std::deque<State> states_;
    Known<Stack, StackParts> known_stacks_;
    Known<State, StateParts> known_states_;
    State dead_{{}, false};
    std::size_t bytes_ = 0;
};

}  // namespace cachalot::grammar
