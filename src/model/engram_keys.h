// The keys of a GGUF file that describe its Engram tables. Those of llama.cpp's converter are
//
//     engram.layer_ids       layers with a table
//     engram.head_count      hashes of each n-gram
//     engram.key_length      values of a row
//     engram.max_ngram_size  tokens of the longest n-gram
//     engram.primes          u64[]  rows of each hash: [layers, n-grams, heads]
//     engram.offsets         u64[]  of the first of these rows in its table
//     engram.multipliers     u64[]  of the hashes: [layers, tokens], the newest token first
//     engram.token_map       i32[]  class of each token
//     engram.pad_id          u32    class of the padding
//
// We write pad_token_id, a token of the padding's class, and compressed_vocab_size, the number of classes,
// besides. Everything but the sizes follows from them and from the tokenizer, so it is checked where a file
// has it: with one wrong number, other rows would be read, and nobody would notice.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "model/config.h"
#include "model/gguf_fields.h"

namespace cachalot {

class GgufWriter;

// general.type of a file that has nothing but the Engram tables of a model.
inline constexpr const char* kEngramFile = "engram";

std::string engram_table_name(int layer);

// Sets config.engram; nothing if there are no tables. Throws Error naming the key.
void read_engram_keys(const GgufFields& fields, Config& config);

// `prefix` is that of the architecture's keys.
void write_engram_keys(const EngramConfig& config, const std::string& prefix, GgufWriter& writer);
// Those that follow from the tokenizer: `classes` [vocab] is of each token.
void write_engram_classes(const EngramConfig& config, std::span<const std::int32_t> classes,
                          const std::string& prefix, GgufWriter& writer);

// Throws Error naming the first key whose value is not the one that follows from the tokenizer, from the
// other keys and from the tensors that `file` has.
void check_engram_keys(const Gguf& file, const GgufFields& fields, const EngramConfig& config,
                       std::span<const std::int32_t> classes);

// Throws Error naming the key by which the tables of a file are not those of `model`, whose tables are these.
void check_engram_tables(const GgufFields& fields, const EngramConfig& config, const std::string& model);

}  // namespace cachalot
