// Text to token ids and back: the byte-level BPE tokenizer of DeepSeek V3 and V4.
//
// Special tokens (`<｜User｜>`, `<think>`, ...) steer the model, so text from outside must not be able to
// forge them. Whoever encodes says for each part whether special tokens are parsed in it or are text like any
// other; from a `literal` part no special id can ever come, since no merge may produce one (checked at
// construction).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/text_part.h"
#include "text/tokenizer_bpe.h"

namespace cachalot {

enum class TokenType {  // the numbers of GGUF's tokenizer.ggml.token_type
    normal = 1,
    unknown = 2,
    control = 3,       // special: steers the model, not shown
    user_defined = 4,  // special: matched as a whole, but text to the reader
    unused = 5,
    byte = 6,
};

// What a file says about a tokenizer, in the form in which GGUF stores it.
struct TokenizerData {
    std::vector<std::string>
        tokens;              // by id; normal tokens in GPT-2's byte alphabet ("Ġthe"), special ones verbatim
    std::vector<int> types;  // by id, values of TokenType
    std::vector<std::string> merges;  // by rank, "left right"
    int bos = 0, eos = 0;             // ids
};

// Immutable; one object may be used by several threads at once.
class Tokenizer {
  public:
    // `source` names the file in errors. Throws Error unless the parts fit together: every merge joins two
    // ordinary tokens into an ordinary one, all 256 bytes have a token, no two tokens have the same text, bos
    // and eos are special.
    Tokenizer(TokenizerData data, std::string source);
    Tokenizer(Tokenizer&&) = default;
    Tokenizer& operator=(Tokenizer&&) = default;
    Tokenizer(const Tokenizer&) = delete;  // ids_ points into data_
    Tokenizer& operator=(const Tokenizer&) = delete;

    // Reads the text of a Hugging Face tokenizer.json. Throws Error if it is not one, or if it asks for
    // anything that this class does not do (another pre-tokenizer, a normaliser, ...).
    static Tokenizer from_json(const std::string& text, const std::string& source);

    // Any bytes are accepted: decode(encode(text)) == text in both modes.
    std::vector<std::int32_t> encode(std::string_view text, SpecialTokens mode) const;

    // Encodes the concatenation of the parts. A special token is recognised only if it lies wholly inside one
    // `parse` part; ordinary text is tokenised across the borders of parts as if they were not there.
    std::vector<std::int32_t> encode_parts(std::span<const TextPart> parts) const;

    // The same if these are no more than `most` tokens, else nothing: a text that is too long costs no more
    // than one that is not.
    std::optional<std::vector<std::int32_t>> encode_at_most(std::size_t most,
                                                            std::span<const TextPart> parts) const;

    // A number of tokens that `text`, encoded as literal, has at least. Takes a glance at each byte.
    std::size_t least_tokens(std::string_view text) const;

    // The bytes of the tokens one after the other: not always valid UTF-8, as a model may stop inside a
    // character. Throws Error for an id out of range.
    std::string decode(std::span<const std::int32_t> ids) const;

    // The bytes that one token stands for; a special token's are its text. Throws Error for an id out of
    // range.
    const std::string& bytes(std::int32_t id) const;

    // Whether the token is control or user-defined, so that only `parse` can produce it. Throws Error as
    // bytes().
    bool is_special(std::int32_t id) const;

    // The token whose bytes are exactly `text`.
    std::optional<std::int32_t> find(std::string_view text) const;

    int size() const { return static_cast<int>(bytes_.size()); }
    std::int32_t bos() const { return data_.bos; }
    std::int32_t eos() const { return data_.eos; }
    const TokenizerData& data() const { return data_; }

  private:
    struct Special {
        std::string text;
        std::int32_t id;
    };
    struct SpecialMatch {
        std::size_t begin, length;
        std::int32_t id;
    };

    void read_tokens();
    void read_merges();
    std::size_t checked(std::int32_t id) const;
    std::optional<SpecialMatch> next_special(std::string_view text) const;
    bool encode_ordinary(std::string_view text, std::size_t most, std::vector<std::int32_t>& ids) const;

    TokenizerData data_;
    std::string source_;
    std::vector<std::string> bytes_;                          // by id
    std::unordered_map<std::string_view, std::int32_t> ids_;  // by data_.tokens[id], which the keys point to
    std::array<std::int32_t, 256> byte_ids_{};                // the token of each single byte
    std::array<std::uint64_t, 256> byte_shares_{};            // of a token, see least_tokens()
    std::vector<Special> specials_;                           // sorted by text
    std::array<bool, 256> starts_special_{};                  // first bytes of special tokens
    MergeTable merges_;
};

}  // namespace cachalot
