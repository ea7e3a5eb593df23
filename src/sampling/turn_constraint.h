// How a turn goes: first reasoning, if there is any, then tokens that are given, then whatever the model
// writes.
//
// The reasoning may be limited, and it is not the end: where the model would end the turn inside it, the
// reasoning is ended instead, unless it has turned into calls (models call from within their reasoning).
#pragma once

#include <optional>

#include "sampling/token_constraint.h"
#include "sampling/token_text.h"
#include "text/tokenizer.h"

namespace cachalot {

struct TurnRules {
    // What ends the reasoning that the turn begins with; none: it begins with content.
    std::optional<std::int32_t> reasoning_end = {};
    std::int64_t max_reasoning = -1;  // tokens, after which `reasoning_end` is forced; -1: no limit
    // Tokens that are forced after the reasoning, or at once if there is none.
    std::vector<std::int32_t> forced = {};
    bool ignore_eos = false;  // EOS is a token like others, as long as no forced tokens are outstanding
};

class TurnConstraint final : public TokenConstraint {
  public:
    TurnConstraint(const Tokenizer& tokenizer, TurnRules rules);

    std::vector<std::int32_t> forced() const override;
    void mask(std::span<float> /*logits*/) override {}
    bool allows(std::int32_t token) const override;
    std::int32_t instead_of(std::int32_t sampled) const override;
    void accept(std::int32_t token) override;
    void rollback(std::size_t count) override;

  private:
    bool ends_in_calls() const;

    const Tokenizer& tokenizer_;
    TurnRules rules_;
    std::size_t accepted_ = 0;              // tokens
    std::optional<std::size_t> reasoning_;  // tokens of it, its end included; none while it goes on
    TokenText text_;                        // of the reasoning
};

}  // namespace cachalot
