// A made-up vocabulary of any size, for models whose text means nothing.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace cachalot {

// Special tokens of the chat format, one token for each byte, then all combinations of two, three and four
// letters, with and without a space before them, until there are `size` tokens; every longer one has its
// merge. Throws Error for fewer tokens than bytes and specials, or more than there are combinations.
TokenizerData synthetic_vocabulary(int size);

// The same as Hugging Face's tokenizer.json.
std::string tokenizer_json(const TokenizerData& data);

}  // namespace cachalot
