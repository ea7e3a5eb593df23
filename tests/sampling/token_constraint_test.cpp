// What may follow: every constraint is the same automaton, however its tokens are taken back and offered
// again.
#include "sampling/token_constraint.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "base/error.h"
#include "sampling/token_filter.h"
#include "sampling/turn_constraint.h"
#include "small_tokenizer.h"

namespace cachalot {
namespace {

using test::id;
using test::tokenizer;
using Tokens = std::vector<std::int32_t>;

constexpr std::int32_t kEos = 1, kThinkEnd = 2;  // any special token will do for the latter

std::vector<float> masked(TokenConstraint& constraint) {
    std::vector<float> logits(static_cast<std::size_t>(tokenizer().size()), 1.0f);
    constraint.mask(logits);
    return logits;
}

// All that can be seen of a constraint.
struct Seen {
    Tokens forced, replaced;
    std::vector<float> logits;
    std::vector<bool> allowed;
    bool operator==(const Seen&) const = default;
};

Seen seen(TokenConstraint& constraint) {
    Seen all{constraint.forced(), {}, masked(constraint), {}};
    for (std::int32_t token = 0; token < tokenizer().size(); ++token) {
        all.replaced.push_back(constraint.instead_of(token));
        all.allowed.push_back(constraint.allows(token));
    }
    return all;
}

// As the words of a call and what is beside it.
Tokens some_tokens() {
    const auto token = rc::gen::element(id("<"), id("tool"), id("<tool"), id("_"), id("="), id("g"), id("ge"),
                                        id("get"), id("t"), id(">"), id("x"), id("\n"), kEos, kThinkEnd);
    return *rc::gen::container<Tokens>(token);
}

ConstraintMaker some_constraint() {
    const auto bool_of = [] { return *rc::gen::arbitrary<bool>(); };
    TurnRules turn;
    if (bool_of()) turn.reasoning_end = kThinkEnd;
    if (turn.reasoning_end) turn.max_reasoning = *rc::gen::inRange(-1, 6);
    if (bool_of()) turn.forced = {id("<"), id("tool"), id("=")};
    turn.ignore_eos = bool_of();
    TokenRules rules;
    if (bool_of()) rules.forbidden = {"<tool_", "x\n<", "tt"};
    if (bool_of()) rules = {rules.forbidden, "=", {"get>", "ge_t>", "x"}};
    const int which = *rc::gen::inRange(0, 3);
    return [=]() -> std::unique_ptr<TokenConstraint> {
        auto all = std::make_unique<ConstraintList>();
        if (which != 1) all->add(std::make_unique<TurnConstraint>(tokenizer(), turn));
        if (which != 0) all->add(std::make_unique<TokenFilter>(tokenizer(), rules, "<tool"));
        return all;
    };
}

RC_GTEST_PROP(TokenConstraint, RollbackIsExact, ()) {
    const auto make = some_constraint();
    const auto constraint = make();
    Tokens accepted;
    for (int round = 0; round < 4; ++round) {
        for (auto token : some_tokens()) {
            constraint->accept(token);
            accepted.push_back(token);
        }
        const auto back = *rc::gen::inRange<std::size_t>(0, accepted.size() + 1);
        constraint->rollback(back);
        accepted.resize(accepted.size() - back);
        const auto fresh = make();
        for (auto token : accepted) fresh->accept(token);
        RC_ASSERT(seen(*constraint) == seen(*fresh));
    }
    EXPECT_THROW(constraint->rollback(accepted.size() + 1), std::exception);
}

RC_GTEST_PROP(TokenConstraint, AllowsWhatTheMaskLeaves, ()) {
    const auto constraint = some_constraint()();
    for (auto token : some_tokens()) constraint->accept(token);
    const auto all = seen(*constraint);
    bool any = false;
    for (std::int32_t token = 0; token < tokenizer().size(); ++token) {
        const auto i = static_cast<std::size_t>(token);
        any |= std::isfinite(all.logits[i]);
        if (all.forced.empty())
            RC_ASSERT(all.allowed[i] == (std::isfinite(all.logits[i]) && all.replaced[i] == token));
        else
            RC_ASSERT(all.allowed[i] == (token == all.forced.front()));
    }
    RC_ASSERT(any);
}

TEST(TurnConstraint, ForcesTokensAfterTheReasoning) {
    const Tokens given = {id("<"), id("tool"), id(">")};
    TurnConstraint turn(tokenizer(), {kThinkEnd, -1, given, false});
    EXPECT_TRUE(turn.forced().empty());
    turn.accept(id("x"));
    EXPECT_TRUE(turn.forced().empty());
    EXPECT_EQ(turn.instead_of(kEos), kThinkEnd);
    EXPECT_EQ(turn.instead_of(id("x")), id("x"));
    turn.accept(kThinkEnd);
    EXPECT_EQ(turn.forced(), given);
    turn.accept(given[0]);
    EXPECT_EQ(turn.forced(), (Tokens{given[1], given[2]}));
    turn.accept(given[1]);
    turn.accept(given[2]);
    EXPECT_TRUE(turn.forced().empty());
    EXPECT_EQ(turn.instead_of(kEos), kEos);
    EXPECT_EQ(TurnConstraint(tokenizer(), {{}, -1, given, false}).forced(), given);
}

TEST(TurnConstraint, EndsReasoningThatIsTooLongAndGoesOnAtOnce) {
    TurnConstraint turn(tokenizer(), {kThinkEnd, 2, {id("<")}, false});
    turn.accept(id("x"));
    EXPECT_TRUE(turn.forced().empty());
    turn.accept(id("x"));
    EXPECT_EQ(turn.forced(), (Tokens{kThinkEnd, id("<")}));
    EXPECT_EQ(TurnConstraint(tokenizer(), {kThinkEnd, 0, {}, false}).forced(), Tokens{kThinkEnd});
}

TEST(TurnConstraint, ATurnEndsInItsReasoningOnlyAfterCalls) {
    auto at_end = [](const std::string& text, bool ignore_eos = false) {
        TurnConstraint turn(tokenizer(), {kThinkEnd, -1, {}, ignore_eos});
        // "｜DSML｜" is what ends the reasoning here, so it is spelt in bytes.
        for (auto token : tokenizer().encode(text, SpecialTokens::literal)) turn.accept(token);
        return turn.instead_of(kEos);
    };
    EXPECT_EQ(at_end("so"), kThinkEnd);
    EXPECT_EQ(at_end("so", true), kEos);
    EXPECT_EQ(at_end("so </｜DSML｜tool_calls>"), kEos);
    EXPECT_EQ(at_end("so </｜DSML｜tool_calls>\n \n"), kEos);
    EXPECT_EQ(at_end("so </｜DSML｜tool_calls> and"), kThinkEnd);
    EXPECT_EQ(at_end("so <｜DSML｜tool_calls>"), kThinkEnd);
}

// Forced tokens go past the masks of others.
TEST(ConstraintList, ForcedTokensComeFirst) {
    ConstraintList all;
    all.add(std::make_unique<TokenFilter>(tokenizer(), TokenRules{{"x"}, {}, {}}));
    all.add(std::make_unique<TurnConstraint>(tokenizer(), TurnRules{{}, -1, {id("x")}, false}));
    EXPECT_TRUE(all.allows(id("x")));
    EXPECT_FALSE(all.allows(id("t")));
    all.accept(id("x"));
    EXPECT_FALSE(all.allows(id("x")));
    EXPECT_TRUE(all.allows(id("t")));
}

}  // namespace
}  // namespace cachalot
