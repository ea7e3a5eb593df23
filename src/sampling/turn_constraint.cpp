#include "sampling/turn_constraint.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::size_t kTail = 128;  // bytes of the text in which a closing tag and white space are looked for

}  // namespace

TurnConstraint::TurnConstraint(const Tokenizer& tokenizer, TurnRules rules)
    : tokenizer_(tokenizer), rules_(std::move(rules)) {
    if (!rules_.reasoning_end) reasoning_ = 0;
}

std::vector<std::int32_t> TurnConstraint::forced() const {
    const auto& all = rules_.forced;
    if (reasoning_) {
        const auto given = std::min(accepted_ - *reasoning_, all.size());
        return {all.begin() + static_cast<std::ptrdiff_t>(given), all.end()};
    }
    if (rules_.max_reasoning < 0 || std::cmp_less(accepted_, rules_.max_reasoning)) return {};
    std::vector<std::int32_t> tokens = {*rules_.reasoning_end};
    tokens.insert(tokens.end(), all.begin(), all.end());
    return tokens;
}

bool TurnConstraint::allows(std::int32_t token) const {
    const auto given = forced();
    return given.empty() ? instead_of(token) == token : token == given.front();
}

std::int32_t TurnConstraint::instead_of(std::int32_t sampled) const {
    if (reasoning_ || sampled != tokenizer_.eos()) return sampled;
    const bool goes_on = !rules_.forced.empty() || (!rules_.ignore_eos && !ends_in_calls());
    return goes_on ? *rules_.reasoning_end : sampled;
}

// Whether the text ends with a block of calls: its last tag is a closing one.
bool TurnConstraint::ends_in_calls() const {
    std::string_view tail = text_.last(kTail);
    tail = tail.substr(0, tail.find_last_not_of(" \n") + 1);
    const auto tag = tail.rfind('<');
    return tag != std::string_view::npos && tail.substr(tag).starts_with("</｜DSML") && tail.ends_with('>');
}

void TurnConstraint::accept(std::int32_t token) {
    ++accepted_;
    if (reasoning_) return;
    text_.append(tokenizer_.bytes(token));
    if (token == rules_.reasoning_end) reasoning_ = accepted_;
}

void TurnConstraint::rollback(std::size_t count) {
    CACHALOT_CHECK(count <= accepted_);
    accepted_ -= count;
    if (!rules_.reasoning_end) return;
    const auto read = reasoning_.value_or(accepted_ + count);  // tokens that text_ has
    if (accepted_ >= read) return;
    text_.take_back(read - accepted_);
    reasoning_.reset();
}

}  // namespace cachalot
