// The symbols of a piece form a linked list; a heap orders the pairs that could merge by (rank, position). A
// merge changes two neighbouring pairs, which are pushed anew; what the heap still holds about the old ones
// is recognised when it comes up, because then the symbols at that place no longer are the merge's parts.
// (They cannot become so again: a symbol only ever grows.)

#include "text/tokenizer_bpe.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::int32_t kGone = -1;
constexpr std::uint32_t kEnd = static_cast<std::uint32_t>(-1);

}  // namespace

MergeTable::MergeTable(std::vector<Merge> merges, std::size_t vocab_size) : merges_(std::move(merges)) {
    starts_.assign(vocab_size + 1, 0);
    for (const Merge& m : merges_) ++starts_[static_cast<std::size_t>(m.left) + 1];
    for (std::size_t i = 0; i < vocab_size; ++i) starts_[i + 1] += starts_[i];

    rights_.resize(merges_.size());
    std::vector<std::size_t> next(starts_.begin(), starts_.end() - 1);
    for (std::uint32_t rank = 0; rank < merges_.size(); ++rank) {
        const Merge& m = merges_[rank];
        rights_[next[static_cast<std::size_t>(m.left)]++] = {m.right, rank};
    }
    for (std::size_t i = 0; i < vocab_size; ++i) {
        std::sort(rights_.begin() + static_cast<std::ptrdiff_t>(starts_[i]),
                  rights_.begin() + static_cast<std::ptrdiff_t>(starts_[i + 1]),
                  [](const Right& a, const Right& b) { return a.id < b.id; });
    }
}

std::optional<std::uint32_t> MergeTable::rank(std::int32_t left, std::int32_t right) const {
    const auto begin = rights_.begin() + static_cast<std::ptrdiff_t>(starts_[static_cast<std::size_t>(left)]);
    const auto end =
        rights_.begin() + static_cast<std::ptrdiff_t>(starts_[static_cast<std::size_t>(left) + 1]);
    const auto found =
        std::lower_bound(begin, end, right, [](const Right& r, std::int32_t id) { return r.id < id; });
    if (found == end || found->id != right) return std::nullopt;
    return found->rank;
}

void Merger::merge(std::span<const std::int32_t> bytes, std::vector<std::int32_t>& out) {
    if (bytes.size() >= kEnd) fail("a text of {} bytes without a border is too long", bytes.size());
    const auto size = static_cast<std::uint32_t>(bytes.size());
    symbols_.clear();
    heap_.clear();
    for (std::uint32_t i = 0; i < size; ++i)
        symbols_.push_back({bytes[i], i == 0 ? kEnd : i - 1, i + 1 == size ? kEnd : i + 1});
    for (std::uint32_t i = 0; i < size; ++i)
        if (const auto pair = candidate(i)) heap_.push_back(*pair);
    std::make_heap(heap_.begin(), heap_.end());

    while (!heap_.empty()) {
        const Candidate best = pop();
        const Merge& m = table_[best.rank];
        Symbol& left = symbols_[best.left];
        if (left.id != m.left || left.next == kEnd || symbols_[left.next].id != m.right)
            continue;  // out of date
        Symbol& right = symbols_[left.next];
        left.id = m.result;
        left.next = right.next;
        right.id = kGone;
        if (left.next != kEnd) symbols_[left.next].prev = best.left;
        consider(best.left);
        if (left.prev != kEnd) consider(left.prev);
    }
    for (std::uint32_t i = symbols_.empty() ? kEnd : 0; i != kEnd; i = symbols_[i].next)
        out.push_back(symbols_[i].id);
}

// The pair that begins at symbol `left`, if there is a merge for it.
std::optional<Merger::Candidate> Merger::candidate(std::uint32_t left) const {
    const std::uint32_t right = symbols_[left].next;
    if (right == kEnd) return std::nullopt;
    const auto rank = table_.rank(symbols_[left].id, symbols_[right].id);
    return rank ? std::optional(Candidate{*rank, left}) : std::nullopt;
}

void Merger::consider(std::uint32_t left) {
    if (const auto pair = candidate(left)) {
        heap_.push_back(*pair);
        std::push_heap(heap_.begin(), heap_.end());
    }
}

Merger::Candidate Merger::pop() {
    std::pop_heap(heap_.begin(), heap_.end());
    const Candidate best = heap_.back();
    heap_.pop_back();
    return best;
}

}  // namespace cachalot
