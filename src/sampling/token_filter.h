// Which tokens may come next, by the text that they would make: some texts never come about, and after a
// certain text one of several follows.
//
// That is enough for what a call has to hold (a call's name is one of those offered; no call at all) and
// needs no grammar. The rules are about the text of all tokens, special ones included, and not about how it
// is divided into tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sampling/token_constraint.h"
#include "sampling/token_text.h"
#include "text/tokenizer.h"

namespace cachalot {

struct TokenRules {
    std::vector<std::string> forbidden;      // none of them is ever completed
    std::string trigger;                     // directly after it ...
    std::vector<std::string> continuations;  // ... one of these is written; none: anything
};

class TokenFilter final : public TokenConstraint {
  public:
    // `before` is the end of the text that the tokens follow; the rules see it, too.
    TokenFilter(const Tokenizer& tokenizer, TokenRules rules, std::string_view before = {});

    void mask(std::span<float> logits) override;
    bool allows(std::int32_t token) const override;
    void accept(std::int32_t token) override;
    void rollback(std::size_t count) override;

  private:
    // What the text so far means for the next token.
    std::vector<std::int32_t> continuing() const;
    std::vector<std::string_view> missing() const;
    bool forbids(std::string_view bytes, const std::vector<std::string_view>& missing) const;
    void keep_continuations(std::span<float> logits) const;
    void drop_forbidden(std::span<float> logits);

    const Tokenizer& tokenizer_;
    TokenRules rules_;
    std::size_t reach_ = 0;  // of the rules into the past, in bytes
    TokenText text_;
    std::vector<std::int32_t> containing_;  // tokens that hold a forbidden text by themselves
    bool searched_ = false;                 // containing_ is known
};

}  // namespace cachalot
