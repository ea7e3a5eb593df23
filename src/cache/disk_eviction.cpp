#include "cache/disk_eviction.h"

#include <algorithm>

namespace cachalot {
namespace {

struct Node {
    const StoredBlock* block;
    Node* parent = nullptr;
    int needed_by = 0;                   // snapshots that continue it or what follows it
    std::vector<StoredSnapshot*> bound;  // those that continue it directly
    bool seen = false;                   // a damaged index may lead in a circle
};

class Forest {
  public:
    Forest(const std::vector<StoredBlock>& blocks, std::vector<StoredSnapshot>& snapshots) {
        for (const auto& block : blocks) nodes_[block.key].block = &block;
        for (auto& [key, node] : nodes_)
            if (auto parent = nodes_.find(node.block->parent); parent != nodes_.end())
                node.parent = &parent->second;
        for (auto& [key, node] : nodes_) break_circle(node);
        for (auto& snapshot : snapshots) {
            Node* base = find(snapshot.base);
            (base ? base->bound : at_roots_[snapshot.base]).push_back(&snapshot);
            for (Node* node = base; node; node = node->parent) ++node->needed_by;
        }
    }

    void keep(const ChainKey& block) {
        for (Node* node = find(block); node; node = node->parent) ++node->needed_by;
    }

    std::vector<StoredBlock> unneeded() const {
        std::vector<StoredBlock> found;
        for (const auto& [key, node] : nodes_)
            if (node.needed_by == 0) found.push_back(*node.block);
        return found;
    }

    double worth(const StoredSnapshot& s) {
        std::int64_t bytes = s.place.size, before = 0;
        for (Node* node = find(s.base); node; node = node->parent) {
            if (node->needed_by == 1) bytes += node->block->place.size;
            if (before == 0) before = longest_below(node->bound, s.length);
            if (before != 0 && node->needed_by > 1) break;
        }
        if (before == 0) before = longest_below(at_roots_[s.root], s.length);
        return s.clock + s.uses * static_cast<double>(s.length - before) /
                             static_cast<double>(std::max<std::int64_t>(bytes, 1));
    }

    // The bytes that are free then.
    std::int64_t remove(StoredSnapshot& s, std::vector<StoredBlock>& blocks) {
        std::int64_t bytes = s.place.size;
        Node* base = find(s.base);
        std::erase(base ? base->bound : at_roots_[s.base], &s);
        for (Node* node = base; node; node = node->parent)
            if (--node->needed_by == 0) {
                bytes += node->block->place.size;
                blocks.push_back(*node->block);
            }
        return bytes;
    }

  private:
    Node* find(const ChainKey& key) {
        auto found = nodes_.find(key);
        return found == nodes_.end() ? nullptr : &found->second;
    }

    static std::int64_t longest_below(const std::vector<StoredSnapshot*>& snapshots, std::int64_t length) {
        std::int64_t longest = 0;
        for (const auto* s : snapshots)
            if (s->length < length) longest = std::max(longest, s->length);
        return longest;
    }

    static void break_circle(Node& start) {
        std::vector<Node*> path;
        Node* node = &start;
        for (; node && !node->seen; node = node->parent) {
            node->seen = true;
            path.push_back(node);
        }
        if (node && std::find(path.begin(), path.end(), node) != path.end()) path.back()->parent = nullptr;
    }

    std::map<ChainKey, Node> nodes_;
    std::map<ChainKey, std::vector<StoredSnapshot*>> at_roots_;
};

}  // namespace

Eviction choose_eviction(const std::vector<StoredBlock>& blocks, std::vector<StoredSnapshot> snapshots,
                         const ChainKey& wanted, double clock, std::int64_t bytes) {
    Forest forest(blocks, snapshots);
    forest.keep(wanted);
    Eviction chosen;
    chosen.clock = clock;
    chosen.blocks = forest.unneeded();
    for (const auto& block : chosen.blocks) bytes -= block.place.size;
    std::vector<StoredSnapshot*> left;
    for (auto& s : snapshots) left.push_back(&s);
    while (bytes > 0 && !left.empty()) {
        std::size_t least = 0;
        double least_worth = forest.worth(*left[0]);
        for (std::size_t i = 1; i < left.size(); ++i)
            if (double worth = forest.worth(*left[i]); worth < least_worth) {
                least = i;
                least_worth = worth;
            }
        chosen.clock = std::max(chosen.clock, least_worth);
        bytes -= forest.remove(*left[least], chosen.blocks);
        chosen.snapshots.push_back(*left[least]);
        left.erase(left.begin() + static_cast<std::ptrdiff_t>(least));
    }
    return chosen;
}

}  // namespace cachalot
