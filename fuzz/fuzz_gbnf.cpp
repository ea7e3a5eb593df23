// Grammars come from clients: a grammar is refused with an Error, or its masks are what brute force says for
// every token of a small vocabulary. The same for Lark's notation and regular expressions.
//
// The input is a byte that chooses the notation, a text, a zero byte, then bytes that choose tokens.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "grammar/ebnf.h"
#include "grammar/regex.h"
#include "grammar_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input(reinterpret_cast<const char*>(data), size);
    if (input.empty()) return 0;
    const char notation = input[0];
    input.remove_prefix(1);
    const std::size_t end = std::min(input.find('\0'), input.size());
    const std::string_view text = input.substr(0, std::min<std::size_t>(end, 2000));
    try {
        const auto grammar = notation == 'l'   ? cachalot::grammar::compile_lark(text)
                             : notation == 'r' ? cachalot::grammar::compile_regex(text)
                                               : cachalot::grammar::compile_gbnf(text);
        cachalot::fuzz::walk(grammar, input.substr(std::min(end + 1, input.size())));
    } catch (const cachalot::Error&) {  // refused, which is fine
    }
    return 0;
}
