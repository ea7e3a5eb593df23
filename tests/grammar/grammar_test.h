// What the tests of grammars share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/json_schema.h"

namespace cachalot::grammar::test {

// Expects that the grammar has all of the first texts, and none of the others.
inline void expect_language(const GrammarPtr& grammar, const std::vector<std::string>& in,
                            const std::vector<std::string>& out) {
    for (const auto& text : in) EXPECT_TRUE(matches(*grammar, text)) << text;
    for (const auto& text : out) EXPECT_FALSE(matches(*grammar, text)) << text;
}

inline GrammarPtr schema(std::string_view text) { return compile_json_schema(Json::parse(text)); }

// The message of the GrammarError that the work throws.
template <class Work>
std::string grammar_error(const Work& work) {
    try {
        work();
    } catch (const GrammarError& error) {
        return error.what();
    }
    ADD_FAILURE() << "no GrammarError";
    return {};
}

inline std::string schema_error(std::string_view text) {
    return grammar_error([&] { schema(text); });
}

}  // namespace cachalot::grammar::test
