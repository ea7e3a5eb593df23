// What a model predicted for a text, kept in a file: so that a reference of 156 GB is run once, and
// everything made from it is compared with the file.
//
// A row of 129,280 float32 takes half a megabyte. Most of it says that almost every token is impossible. Kept
// of each row are the most probable tokens, until all others together have a probability below kRest: those
// kExact that are most probable with their log-probabilities in float32, the others in 16 bits over the range
// that the row needs. Of the others only their total remains. The log-probability of the token that follows
// is kept exactly, so that what is computed from it (NLL, perplexity) is that of the model.
//
//     "CLOGPROB" | u32 version 1 | u32 vocabulary | u32 window | u64 tokens | 16 bytes hash of the vocabulary
//     string model | string text                        names, for people; as in GGUF: u64 length | bytes
//     i32[tokens]                                       the text
//     rows, one for each token of each window but the window's last:
//         f32 log p of the next token | f32 log p of all that are not kept (-inf: none)
//         u16 exact | u32 others | exact * (u32 token | f32 log p), most probable first
//         f32 highest | f32 step | others * varint (distance from the token before, ascending) | others * u16
//                                                       log p = highest - step * u16
//     16 bytes hash of everything before: h = 0, then for each piece of 1 MiB, the last may be shorter,
//         h = XXH3-128(h | piece)
//
// All little endian. A varint has 7 bits in a byte, the lowest first; the last byte has its highest bit
// clear.
//
// The file contains the text. What it cannot say about a divergence is measured in tests/measure and stated
// in docs/measuring.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"
#include "file/byte_reader.h"
#include "file/mapped_file.h"
#include "file/output_file.h"
#include "model/model.h"
#include "sampling/logprobs.h"
#include "text/tokenizer.h"

namespace cachalot {

struct SavedRow {
    static constexpr double kRest = 1e-5;
    static constexpr std::size_t kExact = 32;

    double next = 0;  // log p of the token that follows
    double rest = 0;  // log p of all tokens that are not in `kept` together, -infinity if there are none
    std::vector<TokenLogprob> kept;  // the first is the most probable token
    std::size_t exact = 0;           // of them, at the beginning, as the model gave them

    static SavedRow of(std::span<const float> logits, std::int32_t next);
};

// The text and what read it.
struct SavedText {
    std::string model, text;  // names
    std::int32_t vocab_size = 0;
    Hash128 vocabulary{};
    std::uint32_t window = 0;
    std::vector<std::int32_t> ids;
};

// Stands for all tokens of a vocabulary in their order.
Hash128 vocabulary_key(const Tokenizer& tokenizer);

// `text`: the name of what is read.
SavedText saved_text(const Model& model, std::string text, std::vector<std::int32_t> ids, std::size_t window);

class SavedLogitsWriter {
  public:
    // The file appears when it is finished. Throws Error, as all members do.
    SavedLogitsWriter(const std::filesystem::path& path, const SavedText& text);
    void add(const SavedRow& row);
    void finish();

  private:
    void write_pieces(bool all);

    OutputFile file_;
    std::string buffer_;
    Hash128 hash_{};
    std::size_t rows_left_;
};

class SavedLogits {
  public:
    // Throws Error naming the file, as all members do.
    explicit SavedLogits(const std::filesystem::path& path);
    // From memory that outlives the result.
    static SavedLogits parse(std::span<const std::byte> bytes, std::string source);

    const SavedText& text() const { return text_; }
    std::size_t rows() const { return rows_; }  // all of them
    SavedRow next();                            // in the order in which they were written; there must be one

  private:
    SavedLogits(std::optional<MappedFile> file, std::span<const std::byte> bytes, std::string source);
    void read_text();
    double logprob(const char* what);
    std::int32_t token(std::uint64_t id) const;

    std::optional<MappedFile> file_;
    std::unique_ptr<const std::string> source_;  // stays where it is when this is moved
    ByteReader reader_;
    SavedText text_;
    std::size_t rows_ = 0, read_ = 0;
};

}  // namespace cachalot
