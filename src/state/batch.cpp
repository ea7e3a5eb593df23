#include "state/batch.h"

#include "base/error.h"

namespace cachalot {

void Batch::add(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind, Logits wanted) {
    CACHALOT_CHECK(context_rows_ == 0);
    append(state, tokens, kind, wanted == Logits::all ? static_cast<int>(tokens.size()) : 1, false);
}

void Batch::add_draft(KvState& state, std::int32_t token, int ahead) {
    append(state, {&token, 1}, RowsKind::draft, 1, false, ahead);
}

void Batch::add_context(KvState& state, std::span<const std::int32_t> tokens) {
    append(state, tokens, RowsKind::prompt, 0, true);
    context_rows_ += static_cast<int>(tokens.size());
}

void Batch::append(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind, int wants,
                   bool context, int ahead) {
    CACHALOT_CHECK(!tokens.empty());
    const int first = rows(), count = static_cast<int>(tokens.size());
    const std::int64_t start = state.length() + ahead;
    sequences_.push_back(
        {&state, kind, first, count, start, static_cast<int>(wanted_.size()), wants, context});
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    for (int r = 0; r < count; ++r) positions_.push_back(start + r);
    for (int r = count - wants; r < count; ++r) wanted_.push_back(first + r);
}

}  // namespace cachalot
