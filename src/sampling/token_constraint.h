// What may follow, decided token by token: the seam between an answer and all that restricts it, such as
// rules about calls or a grammar.
//
// A constraint is an automaton that reads the tokens of one answer. What it says depends on the tokens
// accepted so far and on nothing else:
//
//   forced()      tokens that have to follow, in this order. They are not sampled: no mask is applied to them
//                 and no random number is drawn. As they are known at once, they are evaluated in one pass.
//   mask()        which tokens may follow where none is forced.
//   instead_of()  what is written where a token was sampled: nearly always that token.
//   accept()      a token is written.
//   rollback()    the last tokens are taken back.
//
// Drafted tokens are offered before the model has seen them: allows() and accept() for one after the other up
// to the first that may not follow, and then rollback() of all of them. The answer goes through the same
// tokens once more when they are verified. So rollback must restore the automaton exactly, and a draft never
// changes what is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace cachalot {

class TokenConstraint {
  public:
    virtual ~TokenConstraint() = default;

    virtual std::vector<std::int32_t> forced() const { return {}; }

    // Sets the logits [vocab] of tokens that may not follow to -infinity. Leaves at least one finite logit if
    // there is one.
    virtual void mask(std::span<float> logits) = 0;

    // Whether this token can be written next: the first of forced(), or else any that mask() would leave,
    // were all logits finite, and that instead_of() does not replace.
    virtual bool allows(std::int32_t token) const = 0;

    virtual std::int32_t instead_of(std::int32_t sampled) const { return sampled; }

    // Any token of the vocabulary, also one that is not allowed: another constraint may have forced it.
    virtual void accept(std::int32_t token) = 0;

    // As if the last `count` accepted tokens had never been. At most all of them.
    virtual void rollback(std::size_t count) = 0;
};

// Makes a constraint for an answer that begins.
using ConstraintMaker = std::function<std::unique_ptr<TokenConstraint>()>;

// All of several constraints. Earlier ones go first: with forced tokens, and with what they put in a token's
// place.
class ConstraintList final : public TokenConstraint {
  public:
    void add(std::unique_ptr<TokenConstraint> constraint) { all_.push_back(std::move(constraint)); }

    std::vector<std::int32_t> forced() const override;
    void mask(std::span<float> logits) override;
    bool allows(std::int32_t token) const override;
    std::int32_t instead_of(std::int32_t sampled) const override;
    void accept(std::int32_t token) override;
    void rollback(std::size_t count) override;

  private:
    std::vector<std::unique_ptr<TokenConstraint>> all_;
};

}  // namespace cachalot
