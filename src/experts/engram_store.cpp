#include "experts/engram_store.h"

namespace cachalot {

void append_rows(const EngramHash& hash, int table, const Batch& batch, std::vector<std::int64_t>& out) {
    for (const auto& s : batch.sequences())
        hash.rows(table, batch.tokens_before(s, hash.history()), batch.tokens_of(s), out);
}

MappedEngramStore::MappedEngramStore(const Config& config, const Weights& weights, EngramHash hash)
    : config_(config.engram), hash_(std::move(hash)), rows_(config_.layers.size()) {
    for (const int layer : config_.layers)
        tables_.push_back(&weights.layers[static_cast<std::size_t>(layer)].engram.table);
}

void MappedEngramStore::begin_pass(const Batch& batch) {
    for (std::size_t table = 0; table < rows_.size(); ++table) {
        rows_[table].clear();
        append_rows(hash_, static_cast<int>(table), batch, rows_[table]);
    }
}

void MappedEngramStore::read(int table, std::span<float> out) {
    const EngramTable& from = *tables_[static_cast<std::size_t>(table)];
    const auto size = static_cast<std::size_t>(config_.row_size);
    for (std::size_t i = 0; const auto row : rows_[static_cast<std::size_t>(table)])
        from.decode(from.values.row(row), from.scales.file ? from.scales.row(row) : nullptr,
                    out.subspan(size * i++, size));
}

}  // namespace cachalot
