#include "prefix/disk_eviction.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

namespace cachalot {
namespace {

struct Node {
    const StoredBlock* block;
    Node* parent = nullptr;
    int needed_by = 0;                  // snapshots that continue it or what follows it
    std::size_t last = 0;               // the sum of their numbers: if it is one, its number
    bool stays = false;                 // needed by somebody else
    std::multiset<std::int64_t> bound;  // lengths of those that continue it directly
    bool seen = false;                  // a damaged index may lead in a circle
};

constexpr std::size_t kNobody = ~std::size_t(0);

class Forest {
  public:
    Forest(const std::vector<StoredBlock>& blocks, const std::vector<StoredSnapshot>& snapshots) {
        for (const auto& block : blocks) nodes_[block.key].block = &block;
        for (auto& [key, node] : nodes_)
            if (auto parent = nodes_.find(node.block->parent); parent != nodes_.end())
                node.parent = &parent->second;
        for (auto& [key, node] : nodes_) break_circle(node);
        for (std::size_t i = 0; i < snapshots.size(); ++i) {
            Node* base = find(snapshots[i].base);
            (base ? base->bound : at_roots_[snapshots[i].base]).insert(snapshots[i].length);
            for (Node* node = base; node; node = node->parent) {
                ++node->needed_by;
                node->last += i;
            }
        }
    }

    void keep(const ChainKey& block) {
        for (Node* node = find(block); node; node = node->parent) node->stays = true;
    }

    std::vector<StoredBlock> unneeded() const {
        std::vector<StoredBlock> found;
        for (const auto& [key, node] : nodes_)
            if (node.needed_by == 0 && !node.stays) found.push_back(*node.block);
        return found;
    }

    double worth(const StoredSnapshot& s) {
        std::int64_t bytes = s.place.size, before = 0;
        for (Node* node = find(s.base); node; node = node->parent) {
            const bool goes_too = node->needed_by == 1 && !node->stays;
            if (goes_too) bytes += node->block->place.size;
            if (before == 0) before = longest_below(node->bound, s.length);
            if (before != 0 && !goes_too) break;
        }
        if (before == 0) before = longest_below(at_roots_[s.root], s.length);
        return s.clock + s.uses * static_cast<double>(s.length - before) /
                             static_cast<double>(std::max<std::int64_t>(bytes, 1));
    }

    struct Removed {
        std::int64_t bytes = 0;            // that are free then
        std::size_t left_alone = kNobody;  // the snapshot with which more bytes go from now on
    };
    Removed remove(const StoredSnapshot& s, std::size_t number, std::vector<StoredBlock>& blocks) {
        Removed removed{s.place.size};
        Node* base = find(s.base);
        auto& bound = base ? base->bound : at_roots_[s.base];
        bound.erase(bound.find(s.length));
        for (Node* node = base; node; node = node->parent) {
            node->last -= number;
            if (--node->needed_by == 1 && !node->stays) removed.left_alone = node->last;
            if (node->needed_by > 0 || node->stays) continue;
            removed.bytes += node->block->place.size;
            blocks.push_back(*node->block);
        }
        return removed;
    }

  private:
    Node* find(const ChainKey& key) {
        auto found = nodes_.find(key);
        return found == nodes_.end() ? nullptr : &found->second;
    }

    static std::int64_t longest_below(const std::multiset<std::int64_t>& lengths, std::int64_t length) {
        const auto next = lengths.lower_bound(length);
        return next == lengths.begin() ? 0 : std::max<std::int64_t>(*std::prev(next), 0);
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
    std::map<ChainKey, std::multiset<std::int64_t>> at_roots_;
};

}  // namespace

// What a snapshot is worth changes when others go: it rises when the one before it went, which shows when its
// turn comes, and falls when nobody else needs its blocks any more, of which remove() tells. So a queue of
// worths of which some are too low, and none is too high, gives the same order as asking all of them each
// time.
Eviction choose_eviction(const std::vector<StoredBlock>& blocks, const std::vector<StoredSnapshot>& snapshots,
                         const ChainKey& wanted, double clock, std::int64_t bytes) {
    Forest forest(blocks, snapshots);
    forest.keep(wanted);
    Eviction chosen;
    chosen.clock = clock;
    chosen.blocks = forest.unneeded();
    for (const auto& block : chosen.blocks) bytes -= block.place.size;
    if (bytes <= 0) return chosen;
    std::set<std::pair<double, std::size_t>> queue;
    std::vector<double> worth;
    for (std::size_t i = 0; i < snapshots.size(); ++i) {
        worth.push_back(forest.worth(snapshots[i]));
        queue.insert({worth[i], i});
    }
    auto ask_again = [&](std::size_t i) {
        queue.erase({worth[i], i});
        worth[i] = forest.worth(snapshots[i]);
        queue.insert({worth[i], i});
    };
    while (bytes > 0 && !queue.empty()) {
        const auto [least, i] = *queue.begin();
        ask_again(i);
        if (*queue.begin() != std::pair(least, i)) continue;
        queue.erase(queue.begin());
        chosen.clock = std::max(chosen.clock, least);
        const auto removed = forest.remove(snapshots[i], i, chosen.blocks);
        bytes -= removed.bytes;
        chosen.snapshots.push_back(snapshots[i]);
        if (removed.left_alone != kNobody) ask_again(removed.left_alone);
    }
    return chosen;
}

}  // namespace cachalot
