#include "grammar/forced_tokens.h"

#include <string>

#include "text/pretokenizer.h"
#include "text/utf8.h"

namespace cachalot::grammar {

std::optional<std::vector<std::int32_t>> tokens_of_only_way(const Tokenizer& tokenizer,
                                                            std::span<const std::int32_t> before,
                                                            std::string_view text, bool ends) {
    // Special tokens divide texts wherever they stand.
    std::string whole;
    for (const std::int32_t token : before) {
        whole += tokenizer.bytes(token);
        if (tokenizer.is_special(token)) whole.clear();
    }
    const std::size_t begin = whole.size();
    whole += text;
    std::size_t end = whole.size();
    if (!ends) {
        // The pieces into which texts are cut first are final but for the last one.
        whole.resize(whole.size() - incomplete_utf8_suffix(whole));
        const auto pieces = pretokenize(whole);
        end = pieces.empty() ? 0 : whole.size() - pieces.back().size();
    }
    if (end <= begin) return std::vector<std::int32_t>();
    std::vector<std::int32_t> tokens;
    std::size_t at = 0;
    bool divided = begin == 0;
    for (const std::int32_t token :
         tokenizer.encode(std::string_view(whole).substr(0, end), SpecialTokens::literal)) {
        if (at >= begin) tokens.push_back(token);
        at += tokenizer.bytes(token).size();
        divided = divided || at == begin;
    }
    if (!divided) return std::nullopt;
    return tokens;
}

}  // namespace cachalot::grammar
