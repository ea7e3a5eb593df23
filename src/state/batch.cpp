#include "state/batch.h"

#include "base/error.h"

namespace cachalot {

void Batch::add(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind, Logits wanted,
                std::size_t ahead) {
    CACHALOT_CHECK(context_rows_ == 0);
    append(state, tokens, kind, wanted == Logits::all ? static_cast<int>(tokens.size()) : 1, false,
           static_cast<int>(ahead));
}

void Batch::add_draft(KvState& state, std::int32_t token, int ahead) {
    append(state, {&token, 1}, RowsKind::draft, 1, false, ahead);
}

void Batch::add_context(KvState& state, std::span<const std::int32_t> tokens, int before) {
    append(state, tokens, RowsKind::prompt, 0, true, 0);
    context_rows_ += static_cast<int>(tokens.size());
    if (before < 0) return;
    const BatchRows& rest = sequences_[static_cast<std::size_t>(before)];
    CACHALOT_CHECK(rest.state == &state && rest.ahead == static_cast<int>(tokens.size()));
    sequences_.back().context_of = before;
}

std::vector<std::int32_t> Batch::tokens_before(const BatchRows& s, std::size_t most) const {
    const auto known = s.state->recent().last(most);
    std::vector<std::int32_t> before(known.begin(), known.end());
    for (const BatchRows& other : sequences_)
        if (s.ahead > 0 && other.state == s.state && other.context) {
            const auto between = tokens_of(other);
            before.insert(before.end(), between.begin(), between.end());
        }
    if (before.size() > most) before.erase(before.begin(), before.end() - static_cast<std::ptrdiff_t>(most));
    return before;
}

void Batch::append(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind, int wants,
                   bool context, int ahead) {
    CACHALOT_CHECK(!tokens.empty());
    const int first = rows(), count = static_cast<int>(tokens.size());
    const std::int64_t start = state.length() + ahead;
    sequences_.push_back(
        {&state, kind, first, count, start, static_cast<int>(wanted_.size()), wants, context, ahead});
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    for (int r = 0; r < count; ++r) positions_.push_back(start + r);
    for (int r = count - wants; r < count; ++r) wanted_.push_back(first + r);
}

}  // namespace cachalot
