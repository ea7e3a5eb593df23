// Which tokens count as the same where Engram tables are looked up: those whose texts differ only in case,
// accents, width and spaces.
//
// The text of each token of the vocabulary, decoded alone, is normalised: compatibility forms are replaced
// (NFKC), marks are taken off (NFD without the categories M*), letters become lower case one by one, runs of
// space, tab and line break one space, and space at the ends goes unless nothing else is there. A text of
// which nothing would remain counts as it is, and so does a token that is no whole text. Classes are numbered
// by their first token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace cachalot {

std::vector<std::int32_t> engram_classes(const Tokenizer& tokenizer);  // [vocab]

// The normalised text, perhaps empty. `text` is UTF-8.
std::string engram_text(std::string_view text);

}  // namespace cachalot
