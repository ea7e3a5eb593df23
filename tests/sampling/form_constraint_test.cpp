// Where an answer has a form, and where it may have calls instead.
#include "sampling/form_constraint.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "small_tokenizer.h"

namespace cachalot {
namespace {

using test::id;
using test::tokenizer;
using Tokens = std::vector<std::int32_t>;

constexpr std::int32_t kEnd = 1, kReasoned = 2;

// A form: the answer is one of some texts. Where only one of them is left, its bytes are forced if asked for.
class Texts final : public TokenConstraint {
  public:
    Texts(std::vector<std::string> texts, bool forces) : texts_(std::move(texts)), forces_(forces) {}

    std::vector<std::int32_t> forced() const override {
        const auto left = rests();
        Tokens tokens;
        if (!forces_ || left.size() != 1) return tokens;
        for (const char byte : left.front()) tokens.push_back(id(std::string(1, byte)));
        return tokens;
    }
    void mask(std::span<float> logits) override {
        for (std::int32_t token = 0; token < tokenizer().size(); ++token)
            if (!fits(token))
                logits[static_cast<std::size_t>(token)] = -std::numeric_limits<float>::infinity();
    }
    bool allows(std::int32_t token) const override {
        const auto given = forced();
        return given.empty() ? fits(token) : token == given.front();
    }
    void accept(std::int32_t token) override {
        written_.push_back(token == kEnd ? std::string("\0", 1) : tokenizer().bytes(token));
    }
    void rollback(std::size_t count) override {
        CACHALOT_CHECK(count <= written_.size());
        written_.resize(written_.size() - count);
    }

  private:
    std::vector<std::string> rests() const {
        std::string all;
        for (const auto& piece : written_) all += piece;
        std::vector<std::string> left;
        for (const auto& text : texts_)
            if (text.starts_with(all)) left.push_back(text.substr(all.size()));
        return left;
    }
    bool fits(std::int32_t token) const {
        const auto left = rests();
        return std::any_of(left.begin(), left.end(), [&](const std::string& rest) {
            if (token == kEnd) return rest.empty();
            return token > kReasoned && !rest.empty() && rest.starts_with(tokenizer().bytes(token));
        });
    }

    std::vector<std::string> texts_;
    bool forces_;
    std::vector<std::string> written_;
};

FormConstraint constraint(FormRules rules, std::vector<std::string> texts, bool forces = false) {
    return {tokenizer(), std::move(rules), std::make_unique<Texts>(std::move(texts), forces)};
}

// The tokens that the mask leaves.
Tokens left(TokenConstraint& constraint) {
    std::vector<float> logits(static_cast<std::size_t>(tokenizer().size()), 1.0f);
    constraint.mask(logits);
    Tokens tokens;
    for (std::int32_t token = 0; token < tokenizer().size(); ++token)
        if (std::isfinite(logits[static_cast<std::size_t>(token)])) tokens.push_back(token);
    return tokens;
}

void write(TokenConstraint& constraint, std::string_view text) {
    for (const char byte : text) constraint.accept(id(std::string(1, byte)));
}

TEST(FormConstraint, HoldsAnAnswerWithoutReasoningFromItsBeginning) {
    auto form = constraint({}, {"too", "x"});
    EXPECT_EQ(left(form), (Tokens{id("t"), id("x"), id("to"), id("too")}));
    form.accept(id("to"));
    EXPECT_EQ(left(form), Tokens{id("o")});
    EXPECT_FALSE(form.allows(kEnd));
    form.accept(id("o"));
    EXPECT_EQ(left(form), Tokens{kEnd});
}

TEST(FormConstraint, LeavesReasoningFreeButForTheLettersOfItsEnd) {
    auto form = constraint({kReasoned, {}}, {"x"}, true);
    EXPECT_TRUE(form.forced().empty());
    EXPECT_EQ(std::ssize(left(form)), tokenizer().size());
    write(form, "why? </think");
    EXPECT_FALSE(form.allows(id(">")));
    EXPECT_TRUE(form.allows(id("x")));
    EXPECT_TRUE(form.allows(kReasoned));
    EXPECT_EQ(std::ssize(left(form)), tokenizer().size() - 1);
    form.accept(kReasoned);
    EXPECT_EQ(form.forced(), Tokens{id("x")});
}

TEST(FormConstraint, ForbidsTextsInTheReasoningOnly) {
    auto form = constraint({kReasoned, {}, {"<tool"}}, {"<tool"});
    form.accept(id("<"));
    EXPECT_FALSE(form.allows(id("tool")));
    EXPECT_FALSE(form.allows(id("<tool")));
    form.accept(kReasoned);
    EXPECT_TRUE(form.allows(id("<tool")));
    form.accept(id("<tool"));
    EXPECT_EQ(left(form), Tokens{kEnd});
}

TEST(FormConstraint, ABlockOfCallsMayStandInPlaceOfTheForm) {
    const Tokens block = {id("<"), id("tool"), id(">")};
    auto form = constraint({{}, block}, {"<x", "y"});
    EXPECT_EQ(left(form), (Tokens{id("<"), id("y")}));  // both begin with the same token
    form.accept(id("<"));
    EXPECT_EQ(left(form), (Tokens{id("x"), id("tool")}));
    form.accept(id("tool"));
    EXPECT_EQ(form.forced(), Tokens{id(">")});  // the form is out
    form.accept(id(">"));
    EXPECT_TRUE(form.forced().empty());
    EXPECT_EQ(std::ssize(left(form)), tokenizer().size());
    write(form, "anything");
    EXPECT_EQ(std::ssize(left(form)), tokenizer().size());
    form.rollback(10);
    EXPECT_EQ(left(form), (Tokens{id("x"), id("tool")}));
    form.accept(id("x"));
    EXPECT_EQ(left(form), Tokens{kEnd});  // and now the calls are
}

TEST(FormConstraint, ALonePathIsNotForcedBesideCalls) {
    auto form = constraint({{}, {id("<")}}, {"too"}, true);
    EXPECT_TRUE(form.forced().empty());
    EXPECT_EQ(left(form), (Tokens{id("<"), id("t")}));
    EXPECT_FALSE(form.allows(id("too")));
    form.accept(id("t"));
    EXPECT_EQ(form.forced(), (Tokens{id("o"), id("o")}));
}

std::vector<std::string> some_texts() {
    const std::vector<std::vector<std::string>> all = {
        {"<tool", "<x", "tt"}, {"too>", "tool"}, {"<"}, {"<tool>x", "x"}};
    return *rc::gen::elementOf(all);
}

ConstraintMaker some_form() {
    const auto bool_of = [] { return *rc::gen::arbitrary<bool>(); };
    FormRules rules;
    if (bool_of()) rules.reasoning_end = kReasoned;
    if (bool_of()) rules.calls_start = {id("<"), id("tool"), id(">")};
    const auto texts = some_texts();
    const bool forces = bool_of();
    return [=] {
        return std::make_unique<FormConstraint>(tokenizer(), rules, std::make_unique<Texts>(texts, forces));
    };
}

// One of the tokens that may follow.
std::int32_t some_next(TokenConstraint& form) {
    if (const auto given = form.forced(); !given.empty()) return given.front();
    auto tokens = left(form);
    if (tokens.size() > 20) tokens = {id("<"), id("/"), id("x"), id("tool"), kReasoned};
    return *rc::gen::elementOf(tokens);
}

RC_GTEST_PROP(FormConstraint, RollbackIsExactAndTheMaskIsWhatItAllows, ()) {
    const auto make = some_form();
    const auto form = make();
    Tokens accepted;
    for (int round = 0; round < 4; ++round) {
        const int steps = *rc::gen::inRange(0, 8);
        for (int i = 0; i < steps && (accepted.empty() || accepted.back() != kEnd); ++i) {
            accepted.push_back(some_next(*form));
            RC_ASSERT(form->allows(accepted.back()));
            form->accept(accepted.back());
        }
        const auto back = *rc::gen::inRange<std::size_t>(0, accepted.size() + 1);
        form->rollback(back);
        accepted.resize(accepted.size() - back);
        const auto fresh = make();
        for (auto token : accepted) fresh->accept(token);
        RC_ASSERT(form->forced() == fresh->forced());
        RC_ASSERT(left(*form) == left(*fresh));
        Tokens allowed;
        for (std::int32_t token = 0; token < tokenizer().size(); ++token)
            if (form->allows(token)) allowed.push_back(token);
        if (const auto given = form->forced(); given.empty())
            RC_ASSERT(allowed == left(*form));
        else
            RC_ASSERT(allowed == Tokens{given.front()});
    }
    EXPECT_THROW(form->rollback(accepted.size() + 1), std::exception);
}

}  // namespace
}  // namespace cachalot
