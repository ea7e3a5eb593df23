#include "model/engram_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "file/gguf_writer.h"

namespace cachalot {
namespace {

template <class To, class From>
std::vector<To> numbers(std::span<const From> values, std::string_view what) {
    std::vector<To> result;
    for (const From value : values) result.push_back(checked_cast<To>(value, what));
    return result;
}

// Of each prime's rows in its table.
std::vector<std::int64_t> offsets_of(const EngramConfig& e) {
    std::vector<std::int64_t> offsets;
    for (std::size_t i = 0; i < e.layers.size(); ++i) {
        std::int64_t offset = 0;
        for (const std::int64_t prime : e.primes_of(static_cast<int>(i))) {
            offsets.push_back(offset);
            offset += prime;
        }
    }
    return offsets;
}

// Throws for the first place where the key's values are others than `expected`; no matter if it is absent.
template <class T>
void check_values(const GgufFields& fields, std::string_view name, std::span<const T> expected) {
    if (!fields.has(name)) return;
    const auto values = fields.get<std::vector<T>>(name);
    if (values.size() != expected.size())
        fail("{}: key '{}' has {} entries, expected {}", fields.source(), fields.key(name), values.size(),
             expected.size());
    for (std::size_t i = 0; i < values.size(); ++i)
        if (values[i] != expected[i])
            fail("{}: key '{}': entry {} is {}, expected {}", fields.source(), fields.key(name), i, values[i],
                 expected[i]);
}

// A table shows in the matrix that stays in the model's file, wherever the rows are.
void check_layers(const Gguf& file, const GgufFields& fields, const EngramConfig& e) {
    const auto has = [&](int layer) {
        return file.contains(fmt::format("blk.{}.engram_wkv.weight", layer)) ||
               file.contains(fmt::format("blk.{}.engram_kv.weight", layer));
    };
    const auto named = [&](int layer) { return std::ranges::find(e.layers, layer) != e.layers.end(); };
    const int layers = fields.size("block_count");
    for (int layer = 0; layer < layers; ++layer)
        if (has(layer) != named(layer))
            fail("{}: key '{}' {} layer {}, which has {}Engram tensors", fields.source(),
                 fields.key("engram.layer_ids"), named(layer) ? "names" : "does not name", layer,
                 has(layer) ? "" : "no ");
}

// The matrix behind the table is as wide as the rows of a token are together.
void check_width(const Gguf& file, const GgufFields& fields, const EngramConfig& e) {
    for (const char* matrix : {"engram_wkv", "engram_kv"}) {
        const auto name = fmt::format("blk.{}.{}.weight", e.layers.front(), matrix);
        if (!file.contains(name)) continue;
        const auto& shape = file.get(name).shape;
        if (!shape.empty() && shape.back() != e.input_size())
            fail("{}: key '{}' is {}, but tensor {} takes {} values of {} rows", fields.source(),
                 fields.key("engram.key_length"), e.row_size, name, shape.back(), e.rows_per_token());
    }
}

}  // namespace

std::string engram_table_name(int layer) { return fmt::format("blk.{}.engram_embd.weight", layer); }

void read_engram_keys(const GgufFields& fields, Config& c) {
    EngramConfig& e = c.engram;
    if (!fields.has("engram.layer_ids")) return;
    e.layers = fields.get<std::vector<std::int32_t>>("engram.layer_ids");
    if (!e.present()) return;
    e.heads = fields.number<int>("engram.head_count", 1, 1024);
    e.row_size = fields.number<int>("engram.key_length", 32, 4096);
    e.longest = fields.number<int>("engram.max_ngram_size", 2, 16);
    const auto list = [&](std::string_view name, std::size_t expected) {
        auto values = fields.get<std::vector<std::int64_t>>(name);
        if (values.size() != expected)
            fail("{}: key '{}' has {} entries, expected {}", fields.source(), fields.key(name), values.size(),
                 expected);
        return values;
    };
    e.primes = list("engram.primes", e.layers.size() * static_cast<std::size_t>(e.rows_per_token()));
    e.multipliers = list("engram.multipliers", e.layers.size() * static_cast<std::size_t>(e.longest));
    e.pad_token = fields.get_or<std::int32_t>("engram.pad_token_id", 2);
    e.classes = fields.get_or<std::int32_t>("engram.compressed_vocab_size", 0);
    for (int table = 0; table < static_cast<int>(e.layers.size()); ++table) {
        std::int64_t rows = 0;  // a table has one for each remainder
        for (const std::int64_t prime : e.primes_of(table))
            rows = checked_add(rows, prime, "rows of an Engram table");
        e.rows.push_back(rows);
    }
}

void write_engram_keys(const EngramConfig& e, const std::string& prefix, GgufWriter& writer) {
    const auto size = [&](std::string_view name, int value) {
        writer.set<std::uint32_t>(prefix + std::string(name), static_cast<std::uint32_t>(value));
    };
    writer.set_array<std::int32_t>(prefix + "engram.layer_ids", e.layers);
    if (!e.present()) return;
    size("engram.head_count", e.heads);
    size("engram.key_length", e.row_size);
    size("engram.max_ngram_size", e.longest);
    size("engram.pad_token_id", e.pad_token);
    if (e.classes) size("engram.compressed_vocab_size", e.classes);
    const auto list = [&](std::string_view name, std::span<const std::int64_t> values) {
        writer.set_array<std::uint64_t>(prefix + std::string(name), numbers<std::uint64_t>(values, name));
    };
    list("engram.primes", e.primes);
    list("engram.multipliers", e.multipliers);
    list("engram.offsets", offsets_of(e));
}

void write_engram_classes(const EngramConfig& e, std::span<const std::int32_t> classes,
                          const std::string& prefix, GgufWriter& writer) {
    writer.set<std::uint32_t>(prefix + "engram.pad_id",
                              static_cast<std::uint32_t>(classes[static_cast<std::size_t>(e.pad_token)]));
    writer.set_array<std::int32_t>(prefix + "engram.token_map", classes);
}

void check_engram_keys(const Gguf& file, const GgufFields& fields, const EngramConfig& e,
                       std::span<const std::int32_t> classes) {
    check_layers(file, fields, e);
    check_width(file, fields, e);
    const auto only = [&](std::string_view name, std::int64_t expected, std::string_view why) {
        if (const auto value = fields.metadata.find<std::int64_t>(fields.key(name));
            value && *value != expected)
            fail("{}: key '{}' is {}, expected {}: {}", fields.source(), fields.key(name), *value, expected,
                 why);
    };
    EngramConfig derived = e;
    derived.classes = classes.empty() ? 0 : 1 + *std::ranges::max_element(classes);
    only("engram.compressed_vocab_size", derived.classes, "so many classes have the tokenizer's tokens");
    check_values(fields, "engram.token_map", classes);
    only("engram.pad_id", classes[static_cast<std::size_t>(e.pad_token)], "the class of the padding token");
    derive_engram_hashes(derived, e.primes.front(), fields.source());
    check_values(fields, "engram.primes", std::span<const std::int64_t>(derived.primes));
    check_values(fields, "engram.multipliers", std::span<const std::int64_t>(derived.multipliers));
    check_values(fields, "engram.offsets", std::span<const std::int64_t>(offsets_of(e)));
}

void check_engram_tables(const GgufFields& fields, const EngramConfig& e, const std::string& model) {
    const auto check = [&](std::string_view name, const std::vector<std::int64_t>& expected) {
        const GgufValue* value = fields.metadata.value(fields.key(name));
        if (!value) return;
        const auto values = value->is_array ? fields.get<std::vector<std::int64_t>>(name)
                                            : std::vector{fields.get<std::int64_t>(name)};
        if (values != expected)
            fail("{}: key '{}' is {}, other than in {}: the tables are those of another model",
                 fields.source(), fields.key(name), value_text(*value), model);
    };
    check("engram.layer_ids", {e.layers.begin(), e.layers.end()});
    check("engram.head_count", {e.heads});
    check("engram.key_length", {e.row_size});
    check("engram.max_ngram_size", {e.longest});
    check("engram.primes", e.primes);
    check("engram.multipliers", e.multipliers);
}

}  // namespace cachalot
