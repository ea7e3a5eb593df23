// Which tokens may come next, by the text that they would make: some texts never come about, and after a
// certain text one of several follows.
//
// That is enough for what a call has to hold (a call's name is one of those offered; no call at all) and
// needs no grammar. The rules are about the text of all tokens, special ones included, and not about how it
// is divided into tokens.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace cachalot {

struct TokenRules {
    std::vector<std::string> forbidden;      // none of them is ever completed
    std::string trigger;                     // directly after it ...
    std::vector<std::string> continuations;  // ... one of these is written; none: anything
};

class TokenFilter {
  public:
    TokenFilter(const Tokenizer& tokenizer, TokenRules rules);

    // Sets the logits [vocab] of tokens that may not come next to -infinity. Never all of them.
    void apply(std::span<float> logits);

    // A token has been chosen, or given.
    void accept(std::int32_t token);

    // The end of the text so far: some bytes more than the rules look at.
    const std::string& tail() const { return tail_; }

  private:
    void keep_continuations(std::span<float> logits) const;
    void drop_forbidden(std::span<float> logits);

    const Tokenizer& tokenizer_;
    TokenRules rules_;
    std::size_t reach_;  // of the rules into the past, in bytes
    std::string tail_;
    std::vector<std::int32_t> containing_;  // tokens that hold a forbidden text by themselves
    bool searched_ = false;                 // containing_ is known
};

}  // namespace cachalot
