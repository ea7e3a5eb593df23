// The first step of tokenisation: cutting text into the pieces that byte-pair merging may not cross.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

namespace cachalot {

// Cuts `text` into pieces as DeepSeek's tokenizer does (see the .cpp file). The pieces are views into `text`,
// not empty, and their concatenation is `text`, whatever its bytes. Takes time linear in the size of the
// text.
std::vector<std::string_view> pretokenize(std::string_view text);

// The same, piece by piece, until `visit` returns false: a text may have more pieces than there is memory to
// list them.
void pretokenize(std::string_view text, const std::function<bool(std::string_view)>& visit);

}  // namespace cachalot
