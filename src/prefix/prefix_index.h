// Prefixes that need not be computed again: for each namespace a radix tree of tokens, with checkpoints at
// some nodes.
//
//     root ── "system text" ──●── "question 1" ──●── "answer" ──●── "question 2" ── ...      ● a checkpoint
//                             └── "question A" ──●── ...
//
// An edge carries any number of tokens, so a prefix is found for any cut: two prompts part where their tokens
// differ, and the checkpoint that lies deepest on the common path is where the second one continues.
// Checkpoints of one path share their pages of rows, so a further one costs little more than its rings.
//
// What makes room first is worth the least (GreedyDual-Size-Frequency, Cherkasova 1998): the value of a
// checkpoint is
//
//     clock at its last use + uses * tokens that would have to be computed again / bytes that it alone holds
//
// and the clock is the value of the last one that went, so that what was precious long ago is not kept for
// ever. A short prompt holds rings for a few tokens and goes before a conversation does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "state/kv_state.h"

namespace cachalot {

class PrefixIndex {
  public:
    PrefixIndex();
    ~PrefixIndex();

    // What is known of a text. It holds the checkpoint that it tells of, which is not evicted meanwhile.
    struct Match {
        std::shared_ptr<const KvCheckpoint> state;  // the deepest that is a prefix; null: there is none
        std::int64_t shared = 0;                    // tokens that also belong to something that is kept

        std::int64_t kept() const { return state ? state->length : 0; }  // tokens
    };
    Match find(const std::string& space, std::span<const std::int32_t> tokens) const;

    // A use of the checkpoint after exactly these tokens, if there is one.
    void use(const std::string& space, std::span<const std::int32_t> tokens);

    bool contains(const std::string& space, std::span<const std::int32_t> tokens) const;

    // Keeps the state after `tokens` (not empty), instead of the one that there may be.
    void insert(const std::string& space, std::span<const std::int32_t> tokens, KvCheckpoint state);

    // Forgets the checkpoint of least value of those that nobody holds (no memory would become free); false
    // if there is none.
    bool evict();

    std::size_t size() const { return kept_.size(); }  // checkpoints
    std::int64_t evictions() const { return evictions_; }
    std::int64_t changes() const {
        return changes_;
    }  // what find() has told is true until this is another number

  private:
    struct Node;

    const Node* deepest(const std::string& space, std::span<const std::int32_t> tokens,
                        std::int64_t* shared) const;
    static double value(const Node& node);
    void prune(Node* node);

    std::map<std::string, std::unique_ptr<Node>> roots_;  // of namespaces in which something is kept
    std::vector<Node*> kept_;                             // with a checkpoint
    double clock_ = 0;
    std::int64_t evictions_ = 0, changes_ = 0;
};

}  // namespace cachalot
