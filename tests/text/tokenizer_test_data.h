// Small tokenizers and the files of tests/data/tokenizer.
#pragma once

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_alphabet.h"

namespace cachalot::test {

inline std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot open " + path);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

inline std::string tokenizer_file(const std::string& name) {
    return read_file(std::string(CACHALOT_TEST_DATA) + "/tokenizer/" + name);
}

// Ids: 0 and 1 bos and eos, 2 <think>, 3 <thinker>, 4 + b the byte b, then the results of the merges.
inline TokenizerData small_data() {
    TokenizerData data;
    data.tokens = {"<bos>", "<eos>", "<think>", "<thinker>"};
    data.types = {3, 3, 4, 4};
    for (int b = 0; b < 256; ++b)
        data.tokens.push_back(to_byte_alphabet(std::string(1, static_cast<char>(b))));
    data.merges = {"t h", "th i", "n k", "thi nk", "Ġ a", "a a", "aa aa"};
    for (const char* result : {"th", "thi", "nk", "think", "Ġa", "aa", "aaaa"})
        data.tokens.emplace_back(result);
    data.types.resize(data.tokens.size(), 1);
    data.bos = 0;
    data.eos = 1;
    return data;
}

inline const Tokenizer& nano() {
    static const Tokenizer tokenizer = Tokenizer::from_json(tokenizer_file("nano.json"), "nano.json");
    return tokenizer;
}

// `f` throws an Error; its message is returned.
template <class F>
std::string error_of(F&& f) {
    try {
        f();
    } catch (const Error& e) {
        return e.what();
    }
    return "(no error)";
}

}  // namespace cachalot::test
