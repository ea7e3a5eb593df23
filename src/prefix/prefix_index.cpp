#include "prefix/prefix_index.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

// Every node but a root has a checkpoint or at least two children.
struct PrefixIndex::Node {
    Node* parent = nullptr;
    std::vector<std::int32_t> edge;  // tokens from the parent to here; a root has none
    std::map<std::int32_t, std::unique_ptr<Node>> children;  // by the first token of their edges
    std::shared_ptr<const KvCheckpoint> state;
    double clock = 0, uses = 0;
    std::string space;  // of a root
};

namespace {

std::size_t common(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
    return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

PrefixIndex::PrefixIndex() = default;
PrefixIndex::~PrefixIndex() = default;

const PrefixIndex::Node* PrefixIndex::deepest(const std::string& space, std::span<const std::int32_t> tokens,
                                              std::int64_t* shared) const {
    const Node* found = nullptr;
    std::size_t done = 0;
    if (auto root = roots_.find(space); root != roots_.end())
        for (const Node* node = root->second.get(); done < tokens.size();) {
            auto child = node->children.find(tokens[done]);
            if (child == node->children.end()) break;
            node = child->second.get();
            auto same = common(node->edge, tokens.subspan(done));
            done += same;
            if (same < node->edge.size()) break;
            if (node->state) found = node;
        }
    if (shared) *shared = static_cast<std::int64_t>(done);
    return found;
}

PrefixIndex::Match PrefixIndex::find(const std::string& space, std::span<const std::int32_t> tokens) const {
    Match match;
    if (const Node* node = deepest(space, tokens, &match.shared)) match.state = node->state;
    return match;
}

void PrefixIndex::use(const std::string& space, std::span<const std::int32_t> tokens) {
    if (!contains(space, tokens)) return;
    auto* node = const_cast<Node*>(deepest(space, tokens, nullptr));
    node->clock = clock_;
    ++node->uses;
}

bool PrefixIndex::contains(const std::string& space, std::span<const std::int32_t> tokens) const {
    const Node* node = deepest(space, tokens, nullptr);
    return node && node->state->length == static_cast<std::int64_t>(tokens.size());
}

void PrefixIndex::insert(const std::string& space, std::span<const std::int32_t> tokens, KvCheckpoint state) {
    CACHALOT_CHECK(!tokens.empty() && state.length == static_cast<std::int64_t>(tokens.size()));
    auto& root = roots_[space];
    if (!root) {
        root = std::make_unique<Node>();
        root->space = space;
    }
    Node* node = root.get();
    while (!tokens.empty()) {
        auto& slot = node->children[tokens.front()];
        if (!slot) {
            slot = std::make_unique<Node>();
            slot->parent = node;
            slot->edge.assign(tokens.begin(), tokens.end());
        }
        auto same = common(slot->edge, tokens);
        if (same < slot->edge.size()) {  // they part here
            auto upper = std::make_unique<Node>();
            auto middle = slot->edge.begin() + static_cast<std::ptrdiff_t>(same);
            upper->parent = node;
            upper->edge.assign(slot->edge.begin(), middle);
            slot->parent = upper.get();
            slot->edge.erase(slot->edge.begin(), middle);
            upper->children[slot->edge.front()] = std::move(slot);
            slot = std::move(upper);
        }
        node = slot.get();
        tokens = tokens.subspan(same);
    }
    if (!node->state) kept_.push_back(node);
    node->state = std::make_shared<const KvCheckpoint>(std::move(state));
    node->clock = clock_;
    node->uses = std::max(node->uses, 1.0);
    ++changes_;
}

double PrefixIndex::value(const Node& node) {
    const Node* above = node.parent;
    while (above && !above->state) above = above->parent;
    const KvCheckpoint* prefix = above ? above->state.get() : nullptr;
    auto tokens = node.state->length - (prefix ? prefix->length : 0);
    // Checkpoints further down the path hold its pages, too.
    auto bytes = node.children.empty() ? node.state->bytes_beyond(prefix)
                                       : static_cast<std::int64_t>(node.state->rings.size());
    return node.clock +
           node.uses * static_cast<double>(tokens) / static_cast<double>(std::max<std::int64_t>(bytes, 1));
}

bool PrefixIndex::evict() {
    auto least = kept_.end();
    double least_value = 0;
    for (auto node = kept_.begin(); node != kept_.end(); ++node) {
        if ((*node)->state.use_count() > 1) continue;
        if (double v = value(**node); least == kept_.end() || v < least_value) {
            least = node;
            least_value = v;
        }
    }
    if (least == kept_.end()) return false;
    Node* node = *least;
    kept_.erase(least);
    clock_ = std::max(clock_, least_value);
    node->state.reset();
    prune(node);
    ++evictions_;
    ++changes_;
    return true;
}

// Removes nodes that hold nothing, from `node` upwards, and joins the edges around one that no longer parts
// anything.
void PrefixIndex::prune(Node* node) {
    while (node->parent && !node->state && node->children.empty()) {
        Node* parent = node->parent;
        parent->children.erase(node->edge.front());
        node = parent;
    }
    if (!node->parent) {
        if (node->children.empty()) roots_.erase(std::string(node->space));
        return;
    }
    if (node->state || node->children.size() > 1) return;
    auto child = std::move(node->children.begin()->second);
    child->edge.insert(child->edge.begin(), node->edge.begin(), node->edge.end());
    child->parent = node->parent;
    node->parent->children[child->edge.front()] = std::move(child);  // in place of the node
}

}  // namespace cachalot
