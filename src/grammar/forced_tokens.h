// The tokens of text that has to follow, whatever follows it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace cachalot::grammar {

// A model has learnt texts as the tokenizer divides them. So `text` is divided together with the tokens
// before it. Its last tokens, which would be others if the text went on, are left out unless a special token
// follows (`ends`). Nothing where the tokenizer would not have divided between the tokens before and `text`.
std::optional<std::vector<std::int32_t>> tokens_of_only_way(const Tokenizer& tokenizer,
                                                            std::span<const std::int32_t> before,
                                                            std::string_view text, bool ends);

}  // namespace cachalot::grammar
