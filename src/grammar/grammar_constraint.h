// Holds an answer to a grammar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/position.h"
#include "grammar/program.h"
#include "grammar/token_trie.h"
#include "sampling/token_constraint.h"

namespace cachalot::grammar {

// The answer's tokens are those accepted from the beginning. Tokens that end the answer may follow where the
// text is complete, and once it cannot go on: after its end, or after a token that does not fit (another
// constraint may have forced it), nothing else may.
class GrammarConstraint final : public TokenConstraint {
  public:
    // `end_tokens`: those that end the answer; at least one. `marks`: the tokens of the grammar's marks.
    // `begun`: what stands already before the first token.
    GrammarConstraint(GrammarPtr grammar, std::shared_ptr<const TokenTrie> trie,
                      std::vector<std::int32_t> end_tokens, std::vector<std::int32_t> marks = {},
                      std::span<const Symbol> begun = {});
    ~GrammarConstraint() override;

    // Where the text can go on in one way only, the tokens into which the tokenizer divides it, except the
    // last ones, which what follows might change.
    std::vector<std::int32_t> forced() const override;
    void mask(std::span<float> logits) override;
    bool allows(std::int32_t token) const override;
    void accept(std::int32_t token) override;
    void rollback(std::size_t count) override;

    // Whether the text so far is a whole one.
    bool complete() const;

  private:
    bool ends(std::int32_t token) const;
    bool may_end() const;
    std::vector<Symbol> symbols_of(std::int32_t token) const;
    std::vector<std::int32_t> find_forced() const;

    GrammarPtr grammar_;
    std::shared_ptr<const TokenTrie> trie_;
    std::vector<std::int32_t> end_tokens_, marks_;
    std::vector<Position> positions_;  // before the first token, and after each; state null: nothing fits
    std::vector<std::int32_t> tokens_;
    mutable std::optional<std::vector<std::int32_t>> forced_;  // at the last position
};

}  // namespace cachalot::grammar
