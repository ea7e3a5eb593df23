// Text on its way to the tokenizer, with a word on where it comes from.
//
// Special tokens (`<｜User｜>`, `<think>`, `｜DSML｜`, ...) steer the model, so text from outside must not be
// able to forge them. A sequence of parts is tokenised as one text, their concatenation; the borders only say
// where the text of a special token becomes that token and where it is text like any other.
#pragma once

#include <string>

namespace cachalot {

enum class SpecialTokens {
    parse,    // the text of a special token becomes its id; the leftmost, then the longest wins
    literal,  // it is ordinary text: for everything that a user, a tool or a file supplied
};

struct TextPart {
    std::string text;
    SpecialTokens mode;
};

}  // namespace cachalot
