// What the files of DeepSeek's tokenizers have in common.
#pragma once

#include <array>

namespace cachalot {

// The patterns that pretokenizer.cpp implements, as the releases' tokenizer.json has them.
inline constexpr std::array<const char*, 3> kTokenizerJsonPatterns = {
    R"(\p{N}{1,3})",
    R"([一-龥぀-ゟ゠-ヿ]+)",
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
};

}  // namespace cachalot
