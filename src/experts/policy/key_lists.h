// Doubly linked lists of keys that share one array: a key is in one of them at most, and moves in constant
// time.
#pragma once

#include <vector>

#include "experts/policy/replacement_policy.h"

namespace cachalot {

class KeyLists {
  public:
    static constexpr int kNone = -1;

    KeyLists(std::size_t keys, int lists) : nodes_(keys), lists_(static_cast<std::size_t>(lists)) {}

    int list_of(ExpertKey key) const { return nodes_[key].list; }
    int size(int list) const { return at(list).size; }
    ExpertKey back(int list) const { return at(list).back; }
    ExpertKey before(ExpertKey key) const { return nodes_[key].previous; }  // towards the front

    // Inserts at the front, taking the key from where it was.
    void push_front(int list, ExpertKey key) {
        remove(key);
        List& l = at(list);
        nodes_[key] = {kNoKey, l.front, list};
        (l.front == kNoKey ? l.back : nodes_[l.front].previous) = key;
        l.front = key;
        ++l.size;
    }

    void remove(ExpertKey key) {
        Node& n = nodes_[key];
        if (n.list == kNone) return;
        List& l = at(n.list);
        (n.previous == kNoKey ? l.front : nodes_[n.previous].next) = n.next;
        (n.next == kNoKey ? l.back : nodes_[n.next].previous) = n.previous;
        --l.size;
        n = {};
    }

    // The key nearest to the back that is not pinned, or kNoKey.
    ExpertKey last_unpinned(int list, const Pins& pins) const {
        ExpertKey key = back(list);
        while (key != kNoKey && pins.pinned(key)) key = before(key);
        return key;
    }

  private:
    struct Node {
        ExpertKey previous = kNoKey, next = kNoKey;
        int list = kNone;
    };
    struct List {
        ExpertKey front = kNoKey, back = kNoKey;
        int size = 0;
    };
    List& at(int list) { return lists_[static_cast<std::size_t>(list)]; }
    const List& at(int list) const { return lists_[static_cast<std::size_t>(list)]; }

    std::vector<Node> nodes_;
    std::vector<List> lists_;
};

}  // namespace cachalot
