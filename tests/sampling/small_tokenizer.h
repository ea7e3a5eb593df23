// A tokenizer that tests can think in.
#pragma once

#include "text/tokenizer.h"
#include "text/tokenizer_alphabet.h"

namespace cachalot::test {

// Ids: 0 bos, 1 eos, 2 "｜DSML｜", then the bytes, then some words.
inline const Tokenizer& tokenizer() {
    static const Tokenizer kTokenizer = [] {
        TokenizerData data;
        data.tokens = {"<bos>", "<eos>", "｜DSML｜"};
        data.types = {3, 3, 4};
        for (int b = 0; b < 256; ++b)
            data.tokens.push_back(to_byte_alphabet(std::string(1, static_cast<char>(b))));
        data.merges = {"g e", "ge t", "t o", "to o", "too l", "< tool"};
        for (const char* word : {"ge", "get", "to", "too", "tool", "<tool"}) data.tokens.emplace_back(word);
        data.types.resize(data.tokens.size(), 1);
        data.bos = 0;
        data.eos = 1;
        return Tokenizer(std::move(data), "test");
    }();
    return kTokenizer;
}

inline std::int32_t id(std::string_view text) { return tokenizer().find(text).value(); }

}  // namespace cachalot::test
