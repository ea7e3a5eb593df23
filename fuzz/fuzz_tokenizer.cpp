// The first byte of the input chooses: the rest is a tokenizer.json, or text for a small tokenizer. A file
// may only be refused by an Error; text must survive encoding and decoding, and literal text must yield no
// special token.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"
#include "text/tokenizer_alphabet.h"
#include "text/utf8.h"

namespace {

using namespace cachalot;

const Tokenizer& small_tokenizer() {
    static const Tokenizer tokenizer = [] {
        TokenizerData data;
        data.tokens = {"<bos>", "<eos>", "<think>", "<thinker>", "｜DSML｜"};
        data.types = {3, 3, 4, 4, 4};
        for (int b = 0; b < 256; ++b)
            data.tokens.push_back(to_byte_alphabet(std::string(1, static_cast<char>(b))));
        data.merges = {"t h", "th i", "n k", "thi nk", "Ġ Ġ", "ĠĠ ĠĠ", "a a", "Ċ Ċ", "ï ½", "ï½ ľ"};
        for (const std::string& merge : data.merges) {
            const std::size_t space = merge.find(' ');
            data.tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
        }
        data.types.resize(data.tokens.size(), 1);
        data.bos = 0;
        data.eos = 1;
        return Tokenizer(std::move(data), "small");
    }();
    return tokenizer;
}

void require(bool condition) {
    if (!condition) std::abort();
}

void round_trip(const Tokenizer& tokenizer, const std::string& text) {
    require(tokenizer.decode(tokenizer.encode(text, SpecialTokens::parse)) == text);
    const auto ids = tokenizer.encode(text, SpecialTokens::literal);
    require(tokenizer.decode(ids) == text);

    StreamDecoder stream;
    std::string shown;
    for (const std::int32_t id : ids) {
        require(!tokenizer.is_special(id));
        shown += stream.push(tokenizer.bytes(id));
    }
    shown += stream.flush();
    require(shown == repair_utf8(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (data[0] % 2 == 0) {
        round_trip(small_tokenizer(), rest);
        return 0;
    }
    try {
        round_trip(Tokenizer::from_json(rest, "fuzz"), "<think>the cat\xFF 漢字 123</think>");
    } catch (const Error&) {
    }
    return 0;
}
