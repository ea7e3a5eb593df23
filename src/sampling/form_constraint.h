// Holds an answer to its form.
//
//     reasoning ──</think>──► form ────────────────► EOS
//                      └────► a block of calls ────► ...
//
// Reasoning is free, but for texts that are forbidden there and the letters of `</think>`: whoever reads the
// text would take for the answer what follows them. Behind the reasoning the answer keeps to the form until
// its end. Where calls may be made it may begin with a block of calls instead, and is free from there on; the
// block's beginning is a fixed row of tokens. As long as what is written may become either, both may go on.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sampling/token_constraint.h"
#include "sampling/token_filter.h"
#include "text/tokenizer.h"

namespace cachalot {

struct FormRules {
    std::optional<std::int32_t> reasoning_end;  // that the form comes after; none: it comes at once
    std::vector<std::int32_t> calls_start;      // that may be written instead of the form; empty: nothing may
    std::vector<std::string> forbidden = {};    // texts that the reasoning cannot have
};

class FormConstraint final : public TokenConstraint {
  public:
    // `form` says what may be written, from the answer's first token on, and when it may end.
    FormConstraint(const Tokenizer& tokenizer, FormRules rules, std::unique_ptr<TokenConstraint> form);

    std::vector<std::int32_t> forced() const override;
    void mask(std::span<float> logits) override;
    bool allows(std::int32_t token) const override;
    void accept(std::int32_t token) override;
    void rollback(std::size_t count) override;

  private:
    struct State {
        bool reasons;
        bool keeps_form;      // what is written of the answer begins the form, and is no block of calls
        bool may_call;        // it begins calls_start, or begins with it
        std::uint16_t begun;  // tokens of calls_start, if so
    };
    const State& now() const { return states_.back(); }
    bool calls() const { return now().may_call && now().begun == rules_.calls_start.size(); }
    // The token by which calls are begun or go on being begun.
    std::optional<std::int32_t> call_token() const;
    void mask_form(std::span<float> logits);

    FormRules rules_;
    std::unique_ptr<TokenConstraint> form_;
    TokenFilter thought_;        // the text of the reasoning
    std::vector<State> states_;  // [1 + accepted tokens]
};

}  // namespace cachalot
