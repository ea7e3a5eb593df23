// A prompt as tokens, with the places in it that others want to know: each prompt is tokenised once, here.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "text/prompt.h"
#include "text/tokenizer.h"

namespace cachalot {

struct PromptTokens {
    std::vector<std::int32_t> tokens;
    std::size_t header =
        0;  // where the last answer's header begins (Prompt::last_answer_header); 0 if there is none
};

// Encodes all parts of the prompt. `verbatim`: for the first answers of the prompt, in order, the tokens that
// stand in their places; an empty one leaves the answer's text. Nothing if these are more than `most` tokens:
// a prompt that is too long costs no more than one that is not.
std::optional<PromptTokens> tokenize_prompt(const Prompt& prompt, const Tokenizer& tokenizer,
                                            std::span<const std::span<const std::int32_t>> verbatim = {},
                                            std::size_t most = std::numeric_limits<std::size_t>::max());

}  // namespace cachalot
