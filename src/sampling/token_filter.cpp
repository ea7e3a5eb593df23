#include "sampling/token_filter.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cachalot {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Whether these bytes hold one of the texts.
bool holds_any(std::string_view bytes, const std::vector<std::string>& texts) {
    return std::any_of(texts.begin(), texts.end(),
                       [&](const std::string& text) { return bytes.find(text) != std::string_view::npos; });
}

// Whether these bytes begin with one of the texts.
bool completes_any(std::string_view bytes, const std::vector<std::string_view>& texts) {
    return std::any_of(texts.begin(), texts.end(),
                       [&](std::string_view text) { return bytes.starts_with(text); });
}

}  // namespace

TokenFilter::TokenFilter(const Tokenizer& tokenizer, TokenRules rules, std::string_view before)
    : tokenizer_(tokenizer), rules_(std::move(rules)), text_(before) {
    std::erase(rules_.forbidden, std::string());
    for (const auto& text : rules_.forbidden) reach_ = std::max(reach_, text.size());
    for (const auto& text : rules_.continuations)
        reach_ = std::max(reach_, rules_.trigger.size() + text.size());
}

void TokenFilter::accept(std::int32_t token) { text_.append(tokenizer_.bytes(token)); }

void TokenFilter::rollback(std::size_t count) { text_.take_back(count); }

void TokenFilter::mask(std::span<float> logits) {
    if (!rules_.forbidden.empty()) drop_forbidden(logits);
    if (!rules_.continuations.empty()) keep_continuations(logits);
}

bool TokenFilter::allows(std::int32_t token) const {
    const auto lacks = missing();
    const auto forbidden = [&](std::int32_t id) { return forbids(tokenizer_.bytes(id), lacks); };
    if (forbidden(token)) return false;
    auto only = continuing();
    std::erase_if(only, forbidden);
    return only.empty() || std::find(only.begin(), only.end(), token) != only.end();
}

// The tokens that continue what was begun after the trigger; none: any token may follow.
std::vector<std::int32_t> TokenFilter::continuing() const {
    std::vector<std::int32_t> tokens;
    if (rules_.continuations.empty()) return tokens;
    const auto tail = text_.last(reach_);
    const auto found = tail.rfind(rules_.trigger);
    if (found == std::string_view::npos) return tokens;
    const auto begun = tail.substr(found + rules_.trigger.size());
    for (std::string_view text : rules_.continuations) {
        if (text == begun) return {};
        if (!text.starts_with(begun)) continue;
        const auto rest = text.substr(begun.size());
        for (std::size_t length = 1; length <= rest.size(); ++length) {
            const auto token = tokenizer_.find(rest.substr(0, length));
            if (token && !tokenizer_.is_special(*token)) tokens.push_back(*token);
        }
    }
    return tokens;
}

void TokenFilter::keep_continuations(std::span<float> logits) const {
    std::vector<std::pair<std::int32_t, float>> kept;
    for (auto token : continuing()) {
        const float logit = logits[static_cast<std::size_t>(token)];
        if (std::isfinite(logit)) kept.emplace_back(token, logit);
    }
    if (kept.empty()) return;
    std::fill(logits.begin(), logits.end(), kNever);
    for (auto [token, logit] : kept) logits[static_cast<std::size_t>(token)] = logit;
}

// What is missing of forbidden texts whose beginning the text ends with.
std::vector<std::string_view> TokenFilter::missing() const {
    std::vector<std::string_view> rests;
    const auto tail = text_.last(reach_);
    for (std::string_view text : rules_.forbidden)
        for (std::size_t length = 1; length < text.size(); ++length)
            if (tail.ends_with(text.substr(0, length))) rests.push_back(text.substr(length));
    return rests;
}

bool TokenFilter::forbids(std::string_view bytes, const std::vector<std::string_view>& missing) const {
    return holds_any(bytes, rules_.forbidden) || completes_any(bytes, missing);
}

void TokenFilter::drop_forbidden(std::span<float> logits) {
    if (!searched_) {
        searched_ = true;
        for (std::int32_t token = 0; token < tokenizer_.size(); ++token)
            if (holds_any(tokenizer_.bytes(token), rules_.forbidden)) containing_.push_back(token);
    }
    for (auto token : containing_) logits[static_cast<std::size_t>(token)] = kNever;
    const auto lacks = missing();
    if (lacks.empty()) return;
    for (std::int32_t token = 0; token < tokenizer_.size(); ++token)
        if (completes_any(tokenizer_.bytes(token), lacks)) logits[static_cast<std::size_t>(token)] = kNever;
}

}  // namespace cachalot
