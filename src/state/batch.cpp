#include "state/batch.h"

#include "base/error.h"

namespace cachalot {

void Batch::add(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind, Logits wanted) {
    CACHALOT_CHECK(!tokens.empty());
    const int first = rows(), count = static_cast<int>(tokens.size());
    const int wants = wanted == Logits::all ? count : 1;
    sequences_.push_back(
        {&state, kind, first, count, state.length(), static_cast<int>(wanted_.size()), wants});
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    for (int r = 0; r < count; ++r) positions_.push_back(state.length() + r);
    for (int r = count - wants; r < count; ++r) wanted_.push_back(first + r);
}

}  // namespace cachalot
