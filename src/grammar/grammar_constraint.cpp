#include "grammar/grammar_constraint.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "grammar/forced_tokens.h"
#include "grammar/states.h"

namespace cachalot::grammar {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr std::size_t kLongestWay = 512;   // bytes that are forced at once
constexpr std::size_t kContextTokens = 8;  // that may decide how what follows is divided

}  // namespace

GrammarConstraint::GrammarConstraint(GrammarPtr grammar, std::shared_ptr<const TokenTrie> trie,
                                     std::vector<std::int32_t> end_tokens, std::vector<std::int32_t> marks,
                                     std::span<const Symbol> begun)
    : grammar_(std::move(grammar)),
      trie_(std::move(trie)),
      end_tokens_(std::move(end_tokens)),
      marks_(std::move(marks)) {
    CACHALOT_CHECK(!end_tokens_.empty() && kFirstMark + marks_.size() <= kSymbols);
    positions_.push_back(grammar_->states().next(grammar_->states().begin(), begun));
}

GrammarConstraint::~GrammarConstraint() = default;

bool GrammarConstraint::complete() const {
    const State* state = positions_.back().state;
    return state && state->ends;
}

bool GrammarConstraint::ends(std::int32_t token) const {
    return std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end();
}

std::vector<Symbol> GrammarConstraint::symbols_of(std::int32_t token) const {
    if (const auto mark = std::find(marks_.begin(), marks_.end(), token); mark != marks_.end())
        return {static_cast<Symbol>(kFirstMark + (mark - marks_.begin()))};
    std::vector<Symbol> symbols;
    for (const char c : trie_->bytes(token)) symbols.push_back(static_cast<unsigned char>(c));
    return symbols;
}

bool GrammarConstraint::may_end() const { return !positions_.back().state || complete(); }

void GrammarConstraint::mask(std::span<float> logits) {
    const Position& at = positions_.back();
    std::shared_ptr<const Mask> allowed =
        at.state ? grammar_->states().mask(at, *trie_) : std::make_shared<Mask>();
    std::vector<std::pair<std::size_t, float>> kept;  // of the few that may follow
    const auto keep = [&](std::int32_t token) {
        const auto index = static_cast<std::size_t>(token);
        if (index < logits.size() && logits[index] > kNever) kept.emplace_back(index, logits[index]);
    };
    if (may_end()) std::for_each(end_tokens_.begin(), end_tokens_.end(), keep);
    for (std::size_t i = 0; i < marks_.size() && at.state; ++i) {
        const auto symbol = static_cast<Symbol>(kFirstMark + i);
        if (grammar_->states().next(at, {&symbol, 1}).state) keep(marks_[i]);
    }
    if (allowed->bits.empty()) std::for_each(allowed->few.begin(), allowed->few.end(), keep);
    bool any = !kept.empty();
    for (std::size_t i = 0; i < allowed->bits.size() && !any; ++i)
        for (std::uint64_t left = allowed->bits[i]; left != 0 && !any; left &= left - 1) {
            const std::size_t index = i * 64 + static_cast<std::size_t>(std::countr_zero(left));
            any = index < logits.size() && logits[index] > kNever;
        }
    if (!any) return;  // somebody else forbids all of them
    for (std::size_t i = 0; i * 64 < logits.size(); ++i) {
        const auto part = logits.subspan(i * 64, std::min<std::size_t>(64, logits.size() - i * 64));
        std::uint64_t barred = i < allowed->bits.size() ? ~allowed->bits[i] : ~std::uint64_t{0};
        if (barred == ~std::uint64_t{0}) {
            std::fill(part.begin(), part.end(), kNever);
            continue;
        }
        if (part.size() < 64) barred &= (std::uint64_t{1} << part.size()) - 1;
        for (; barred != 0; barred &= barred - 1)
            part[static_cast<std::size_t>(std::countr_zero(barred))] = kNever;
    }
    for (const auto& [index, logit] : kept) logits[index] = logit;
}

bool GrammarConstraint::allows(std::int32_t token) const {
    if (const auto tokens = forced(); !tokens.empty()) return token == tokens.front();
    if (ends(token)) return may_end();
    const Position& at = positions_.back();
    if (!at.state || token < 0 || static_cast<std::size_t>(token) >= trie_->vocabulary()) return false;
    const auto symbols = symbols_of(token);
    return !symbols.empty() && grammar_->states().next(at, symbols).state;
}

void GrammarConstraint::accept(std::int32_t token) {
    const auto symbols = symbols_of(token);
    const Position at = positions_.back();
    // A token that is no text, such as the end, is not in the language, so that nothing follows it.
    positions_.push_back(symbols.empty() || !at.state ? Position{at.arena, nullptr}
                                                      : grammar_->states().next(at, symbols));
    tokens_.push_back(token);
    forced_.reset();
}

void GrammarConstraint::rollback(std::size_t count) {
    CACHALOT_CHECK(count <= tokens_.size());
    if (count == 0) return;
    positions_.resize(positions_.size() - count);
    tokens_.resize(tokens_.size() - count);
    forced_.reset();
}

std::vector<std::int32_t> GrammarConstraint::forced() const {
    if (!forced_) forced_ = find_forced();
    return *forced_;
}

std::vector<std::int32_t> GrammarConstraint::find_forced() const {
    const Position& at = positions_.back();
    if (!at.state || !trie_->tokenizer()) return {};
    const auto way = grammar_->states().only_way(at, kLongestWay);
    if (way.empty()) return {};
    std::vector<std::int32_t> tokens;
    std::string text;  // between two marks
    auto before = std::span(tokens_).last(std::min(kContextTokens, tokens_.size()));
    for (const Symbol symbol : way) {
        if (symbol < kFirstMark) {
            text += static_cast<char>(symbol);
            continue;
        }
        const auto part = tokens_of_only_way(*trie_->tokenizer(), before, text, true);
        if (!part) return tokens;
        tokens.insert(tokens.end(), part->begin(), part->end());
        tokens.push_back(marks_[symbol - std::size_t{kFirstMark}]);
        text.clear();
        before = {};
    }
    if (const auto part = tokens_of_only_way(*trie_->tokenizer(), before, text, false))
        tokens.insert(tokens.end(), part->begin(), part->end());
    return tokens;
}

}  // namespace cachalot::grammar
