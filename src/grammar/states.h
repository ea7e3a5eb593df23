// What may follow a text: the automaton's states, found one by one as texts reach them.
//
// After a text the automaton can be at several nodes, each with a stack of the calls that it has to return
// from. Taken one by one there may be exponentially many, so those that are within one call of a rule made at
// one place of the text share its stack: a Stack is the set of all that may follow the call, each with its
// own stack in turn. A state is the set of the nodes from which something is read, each with its Stack, and
// whether the text may end. Equal stacks and equal states are one object, so where a text comes back to what
// it has been (in strings, in lists of members) the state is one that is known, and its transitions need not
// be found again: most of the time the automaton is a table.
//
// To close a set of places after a byte is read: first along edges that read nothing and out of rules whose
// end is reached; then into the rules that are called from all the places found, in an order such that all
// calls of a rule are known before it is entered (Rule::order). What is entered there without reading need
// not come to its end: a call of a rule that can be empty is also passed by.
//
// Counts of repetitions stand in stacks: the place to come back to is a repeat edge, with the times so far.
//
// States live in an Arena, which only grows. Once it is large, texts go over to a new one with their next
// token, and the old one goes with the last text that still needs it for taking tokens back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/position.h"
#include "grammar/program.h"
#include "grammar/state_store.h"
#include "grammar/token_trie.h"

namespace cachalot::grammar {

// The tokens that may follow, in one of two forms.
struct Mask {
    std::vector<std::uint64_t> bits;  // [vocabulary / 64]; empty if `few` has them
    std::vector<std::int32_t> few;
};

// All states of one generation. Used under the lock of States.
class Arena {
  public:
    explicit Arena(const Program& program) : program_(program), store_(program) {}

    const State* begin();
    // Null if nothing that begins so is in the language.
    const State* next(const State* state, std::span<const Symbol> symbols);
    std::shared_ptr<const Mask> mask(const State* state, const TokenTrie& trie);
    // The same state in this arena.
    const State* adopt(const State* foreign);

    // It has grown too large to go on with.
    bool full() const { return bytes() > kMostBytes && bytes() > 2 * adopted_bytes_; }

  private:
    struct Place {
        NodeId node;
        std::uint32_t count;  // at a repeat edge: times that are read
        const Stack* stack;
        bool operator==(const Place&) const = default;
    };
    struct PlaceHash {
        std::size_t operator()(const Place& place) const;
    };
    struct Call {
        RuleId rule;
        Frame frame;
    };
    static constexpr std::size_t kMostBytes = std::size_t{1} << 24;

    const State* step(const State* state, std::uint16_t symbol_class);
    const State* find_step(const State* state, std::uint16_t symbol_class);
    const State* close(std::vector<Place> places);
    void enter_rules();
    void follow_edges(const Place& place, std::vector<Place>& open);
    void call(RuleId rule, Frame frame);
    bool enters_first(const Call& a, const Call& b) const;
    const State* settled(const State* state, std::size_t part);
    void walk(const State* state, const TokenTrie& trie, std::size_t part, std::vector<std::uint64_t>& bits);
    std::shared_ptr<const Mask> kept(std::vector<std::uint64_t> bits);
    void spend(std::size_t steps);
    std::size_t bytes() const { return store_.bytes() + mask_bytes_; }

    const Program& program_;
    StateStore store_;
    std::size_t adopted_bytes_ = 0, mask_bytes_ = 0;
    std::size_t work_ = 0;  // of what is asked for at the moment, in steps
    // Of short tokens, and of all, by the state with its counts settled for them.
    using Masks = std::unordered_map<const State*, std::pair<const TokenTrie*, std::shared_ptr<const Mask>>>;
    Masks short_masks_, masks_;

    // Of the set of places that is being closed.
    std::vector<Item> items_;
    bool ends_ = false;
    std::vector<Call> calls_;  // a heap: first those to be entered first
    std::unordered_set<Place, PlaceHash> seen_;
};

// The arena in use, and the lock. What it returns may be used without the lock, but for State::next.
class States {
  public:
    explicit States(const Program& program);

    Position begin();
    Position next(const Position& from, std::span<const Symbol> symbols);
    std::shared_ptr<const Mask> mask(const Position& at, const TokenTrie& trie);
    // The symbols that have to follow, as far as there is only one way: at most `most`.
    std::vector<Symbol> only_way(const Position& from, std::size_t most);

  private:
    const Program& program_;
    std::mutex mutex_;
    std::shared_ptr<Arena> arena_;
};

}  // namespace cachalot::grammar
