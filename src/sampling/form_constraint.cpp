#include "sampling/form_constraint.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "text/prompt_protocol.h"

namespace cachalot {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

TokenRules rules_of_reasoning(const FormRules& form) {
    TokenRules rules;
    rules.forbidden = form.forbidden;
    rules.forbidden.emplace_back(kThinkEnd);
    return rules;
}

}  // namespace

FormConstraint::FormConstraint(const Tokenizer& tokenizer, FormRules rules,
                               std::unique_ptr<TokenConstraint> form)
    : rules_(std::move(rules)), form_(std::move(form)), thought_(tokenizer, rules_of_reasoning(rules_)) {
    CACHALOT_CHECK(rules_.calls_start.size() < std::numeric_limits<std::uint16_t>::max());
    states_.push_back({rules_.reasoning_end.has_value(), true, !rules_.calls_start.empty(), 0});
}

std::optional<std::int32_t> FormConstraint::call_token() const {
    if (!now().may_call || calls()) return std::nullopt;
    return rules_.calls_start[now().begun];
}

std::vector<std::int32_t> FormConstraint::forced() const {
    if (now().reasons || calls()) return {};
    const auto call = call_token();
    if (now().keeps_form) return call ? std::vector<std::int32_t>() : form_->forced();
    if (!call) return {};
    return {rules_.calls_start.begin() + now().begun, rules_.calls_start.end()};
}

void FormConstraint::mask(std::span<float> logits) {
    if (calls()) return;
    const auto kept = now().reasons ? rules_.reasoning_end : call_token();
    const float logit = kept ? logits[static_cast<std::size_t>(*kept)] : kNever;
    if (now().reasons)
        thought_.mask(logits);
    else if (now().keeps_form)
        mask_form(logits);
    if (kept) logits[static_cast<std::size_t>(*kept)] = logit;
}

// Also where the form has but one path, which is not forced as long as there are calls beside it.
void FormConstraint::mask_form(std::span<float> logits) {
    const auto path = form_->forced();
    if (path.empty()) return form_->mask(logits);
    const float logit = logits[static_cast<std::size_t>(path.front())];
    std::fill(logits.begin(), logits.end(), kNever);
    logits[static_cast<std::size_t>(path.front())] = logit;
}

bool FormConstraint::allows(std::int32_t token) const {
    if (now().reasons) return token == rules_.reasoning_end || thought_.allows(token);
    const auto call = call_token();
    if (call && token == *call) return true;
    if (now().keeps_form) return form_->allows(token);
    return !call;
}

void FormConstraint::accept(std::int32_t token) {
    State next = now();
    if (next.reasons) {
        next.reasons = token != *rules_.reasoning_end;
        thought_.accept(token);
    } else if (!calls()) {
        const auto call = call_token();
        next.may_call = call == token;
        next.begun = static_cast<std::uint16_t>(next.begun + next.may_call);
        const bool called = next.may_call && next.begun == rules_.calls_start.size();
        // Where nothing but the form may be written, whatever comes is its affair.
        next.keeps_form = next.keeps_form && !called && (!call || form_->allows(token));
        if (next.keeps_form) form_->accept(token);
    }
    states_.push_back(next);
}

void FormConstraint::rollback(std::size_t count) {
    CACHALOT_CHECK(count < states_.size());
    std::size_t of_form = 0, of_thought = 0;
    for (std::size_t i = states_.size() - count; i < states_.size(); ++i) {
        of_thought += states_[i - 1].reasons;
        of_form += !states_[i - 1].reasons && states_[i].keeps_form;
    }
    form_->rollback(of_form);
    thought_.rollback(of_thought);
    states_.resize(states_.size() - count, now());
}

}  // namespace cachalot
