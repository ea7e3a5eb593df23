#include "sampling/token_constraint.h"

#include <algorithm>

namespace cachalot {

std::vector<std::int32_t> ConstraintList::forced() const {
    for (const auto& one : all_)
        if (auto tokens = one->forced(); !tokens.empty()) return tokens;
    return {};
}

void ConstraintList::mask(std::span<float> logits) {
    for (const auto& one : all_) one->mask(logits);
}

bool ConstraintList::allows(std::int32_t token) const {
    if (const auto tokens = forced(); !tokens.empty()) return token == tokens.front();
    return std::all_of(all_.begin(), all_.end(), [&](const auto& one) { return one->allows(token); });
}

std::int32_t ConstraintList::instead_of(std::int32_t sampled) const {
    for (const auto& one : all_) sampled = one->instead_of(sampled);
    return sampled;
}

void ConstraintList::accept(std::int32_t token) {
    for (const auto& one : all_) one->accept(token);
}

void ConstraintList::rollback(std::size_t count) {
    for (const auto& one : all_) one->rollback(count);
}

}  // namespace cachalot
