#include "sampling/token_filter.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cachalot {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr std::size_t kTail = 64;  // kept in any case

}  // namespace

TokenFilter::TokenFilter(const Tokenizer& tokenizer, TokenRules rules)
    : tokenizer_(tokenizer), rules_(std::move(rules)), reach_(kTail) {
    std::erase(rules_.forbidden, std::string());
    for (const auto& text : rules_.forbidden) reach_ = std::max(reach_, text.size());
    for (const auto& text : rules_.continuations)
        reach_ = std::max(reach_, rules_.trigger.size() + text.size());
}

void TokenFilter::accept(std::int32_t token) {
    tail_ += tokenizer_.bytes(token);
    if (tail_.size() > 2 * reach_) tail_.erase(0, tail_.size() - reach_);
}

void TokenFilter::apply(std::span<float> logits) {
    if (!rules_.forbidden.empty()) drop_forbidden(logits);
    if (!rules_.continuations.empty()) keep_continuations(logits);
}

void TokenFilter::keep_continuations(std::span<float> logits) const {
    const auto found = tail_.rfind(rules_.trigger);
    if (found == std::string::npos) return;
    const auto begun = std::string_view(tail_).substr(found + rules_.trigger.size());
    std::vector<std::int32_t> allowed;
    for (std::string_view text : rules_.continuations) {
        if (text == begun) return;
        if (!text.starts_with(begun)) continue;
        const auto rest = text.substr(begun.size());
        for (std::size_t length = 1; length <= rest.size(); ++length) {
            const auto token = tokenizer_.find(rest.substr(0, length));
            if (token && !tokenizer_.is_special(*token)) allowed.push_back(*token);
        }
    }
    std::vector<std::pair<std::int32_t, float>> kept;
    for (auto token : allowed) {
        const float logit = logits[static_cast<std::size_t>(token)];
        if (std::isfinite(logit)) kept.emplace_back(token, logit);
    }
    if (kept.empty()) return;
    std::fill(logits.begin(), logits.end(), kNever);
    for (auto [token, logit] : kept) logits[static_cast<std::size_t>(token)] = logit;
}

void TokenFilter::drop_forbidden(std::span<float> logits) {
    if (!searched_) {
        searched_ = true;
        for (std::int32_t token = 0; token < tokenizer_.size(); ++token) {
            const auto& bytes = tokenizer_.bytes(token);
            const auto holds = [&](const std::string& text) { return bytes.find(text) != std::string::npos; };
            if (std::any_of(rules_.forbidden.begin(), rules_.forbidden.end(), holds))
                containing_.push_back(token);
        }
    }
    for (auto token : containing_) logits[static_cast<std::size_t>(token)] = kNever;
    // What is missing of texts whose beginning the tail ends with.
    std::vector<std::string_view> missing;
    for (const std::string& text : rules_.forbidden)
        for (std::size_t length = 1; length < text.size(); ++length)
            if (tail_.ends_with(std::string_view(text).substr(0, length)))
                missing.push_back(std::string_view(text).substr(length));
    if (missing.empty()) return;
    for (std::int32_t token = 0; token < tokenizer_.size(); ++token) {
        const auto& bytes = tokenizer_.bytes(token);
        const auto completes = [&](std::string_view text) { return bytes.starts_with(text); };
        if (std::any_of(missing.begin(), missing.end(), completes))
            logits[static_cast<std::size_t>(token)] = kNever;
    }
}

}  // namespace cachalot
