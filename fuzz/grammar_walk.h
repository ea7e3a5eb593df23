// A walk through a grammar, with its masks compared with brute force at each step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "grammar/grammar_constraint.h"
#include "grammar/program.h"
#include "grammar/states.h"
#include "grammar/token_trie.h"

namespace cachalot::fuzz {

inline std::shared_ptr<const grammar::TokenTrie> small_vocabulary() {
    static const std::vector<std::string> kTokens = [] {
        std::vector<std::string> tokens;
        for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
        for (const char* token :
             {"ab", "aba", "bb", "{\"", "\":", "\",\"", "\"}", "}}", "[[", "]}", "12", ".5", "true", "null",
              "\n  ", "\xC3\xA9", "\xF0\x9F", "\\u00", "aaaaaaaaaaaaaaaa"})
            tokens.emplace_back(token);
        tokens.emplace_back();  // the end
        return tokens;
    }();
    static const auto kTrie = std::make_shared<const grammar::TokenTrie>(
        std::vector<std::string_view>(kTokens.begin(), kTokens.end()), nullptr);
    return kTrie;
}

// The text of the tokens that the bytes choose among those that fit.
inline std::string walk(const grammar::GrammarPtr& grammar, std::string_view choices) {
    const auto trie = small_vocabulary();
    const auto end = static_cast<std::int32_t>(trie->vocabulary() - 1);
    grammar::GrammarConstraint constraint(grammar, trie, {end});
    grammar::Position at = grammar->states().begin();
    const auto behind = [&](std::int32_t token) {
        std::vector<grammar::Symbol> symbols;
        for (const char c : trie->bytes(token)) symbols.push_back(static_cast<unsigned char>(c));
        return grammar->states().next(at, symbols);
    };
    std::string text;
    for (const char choice : choices.substr(0, std::min<std::size_t>(choices.size(), 100))) {
        std::vector<float> logits(trie->vocabulary(), 0.0F);
        constraint.mask(logits);
        std::vector<std::int32_t> fitting;
        for (std::int32_t token = 0; token < end; ++token) {
            const bool fits = behind(token).state != nullptr;
            CACHALOT_CHECK(fits == (logits[static_cast<std::size_t>(token)] == 0.0F));
            if (fits) fitting.push_back(token);
        }
        CACHALOT_CHECK(constraint.complete() == (logits.back() == 0.0F));
        CACHALOT_CHECK(!fitting.empty() || constraint.complete());
        if (fitting.empty()) break;
        const auto token = fitting[static_cast<unsigned char>(choice) % fitting.size()];
        at = behind(token);
        constraint.accept(token);
        text += trie->bytes(token);
    }
    return text;
}

}  // namespace cachalot::fuzz
