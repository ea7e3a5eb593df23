#include "experts/streaming_engram_store.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"

namespace cachalot {
namespace {

// Neighbours are read together up to here, so that a table that is read nearly whole is no single read.
constexpr std::uint64_t kLongestRun = 64 * BlockReader::kBlock;

// What is read of a row: scales that lie behind the values, as in a GGUF file, together with them.
std::vector<RowPart> parts_of(const EngramTable& table) {
    const RowPart &values = table.values, &scales = table.scales;
    if (!scales.file) return {values};
    if (scales.file != values.file || scales.stride != values.stride ||
        scales.offset != values.offset + static_cast<std::uint64_t>(values.bytes))
        return {values, scales};
    return {{values.file, values.offset, values.stride, table.row_bytes()}};
}

// What is read of so many bytes, wherever they begin in their first block.
std::uint64_t read_anywhere(std::uint64_t bytes) {
    return BlockReader::Run{0, BlockReader::kBlock - 1, bytes, nullptr}.read_bytes();
}

std::uint64_t largest_read(const EngramTable& table) {
    std::uint64_t bytes = 0;
    for (const RowPart& part : parts_of(table))
        bytes += read_anywhere(static_cast<std::uint64_t>(part.bytes));
    return bytes;
}

// Of a row of E4M3 with its scales.
std::uint64_t row_bytes(const EngramConfig& config) {
    return static_cast<std::uint64_t>(config.row_size + config.row_size / kEngramBlock);
}

std::vector<const EngramTable*> tables_of(const Model& model) {
    std::vector<const EngramTable*> tables;
    for (const int layer : model.config.engram.layers)
        tables.push_back(&model.weights.layers[static_cast<std::size_t>(layer)].engram.table);
    return tables;
}

std::uint64_t group_bytes(const Model& model) {
    std::uint64_t largest = 0;
    for (const EngramTable* table : tables_of(model)) largest = std::max(largest, largest_read(*table));
    return largest * StreamingEngramStore::kGroupRows;
}

std::uint64_t largest_row(const Model& model) {
    std::int64_t largest = 0;
    for (const EngramTable* table : tables_of(model)) largest = std::max(largest, table->row_bytes());
    return static_cast<std::uint64_t>(largest);
}

// Each once.
std::vector<const MappedFile*> files_of(const Model& model) {
    std::vector<const MappedFile*> files;
    for (const EngramTable* table : tables_of(model))
        for (const RowPart& part : parts_of(*table))
            if (std::find(files.begin(), files.end(), part.file) == files.end()) files.push_back(part.file);
    return files;
}

BlockReader::Run run_of(const RowPart& part, std::size_t file, std::int64_t row) {
    return {file, part.offset + static_cast<std::uint64_t>(row * part.stride),
            static_cast<std::uint64_t>(part.bytes), nullptr};
}

}  // namespace

std::uint64_t StreamingEngramStore::buffer_bytes(const Model& model) { return kGroups * group_bytes(model); }

std::uint64_t StreamingEngramStore::smallest_cache(const Model& model) {
    return RowCache::bytes_for(1, largest_row(model));
}

std::uint64_t StreamingEngramStore::buffer_bytes(const EngramConfig& config) {
    return kGroups * kGroupRows * read_anywhere(row_bytes(config));
}

std::uint64_t StreamingEngramStore::smallest_cache(const EngramConfig& config) {
    return RowCache::bytes_for(1, row_bytes(config));
}

StreamingEngramStore::StreamingEngramStore(const Model& model, const LayerRange& layers, std::uint64_t cache,
                                           std::unique_ptr<ReadQueue> queue)
    : config_(model.config.engram),
      hash_(model.engram_hash),
      group_bytes_(group_bytes(model)),
      buffers_(static_cast<std::size_t>(buffer_bytes(model)), "reading Engram rows"),
      reader_(files_of(model), std::move(queue)) {
    const auto files = files_of(model);
    for (std::size_t i = 0; const EngramTable* source : tables_of(model)) {
        Table& table = tables_.emplace_back();
        table.source = source;
        table.layer = config_.layers[i++];
        table.computed = layers.contains(table.layer);
        table.first_key = stats_.table_rows;
        std::size_t at = 0;
        for (const RowPart& part : parts_of(*source)) {
            const auto file = std::find(files.begin(), files.end(), part.file) - files.begin();
            table.parts.push_back({part, static_cast<std::size_t>(file), at});
            at += static_cast<std::size_t>(part.bytes);
        }
        stats_.table_rows += static_cast<std::uint64_t>(source->rows);
        stats_.table_bytes += source->bytes();
    }
    if (cache > 0) {
        cache_ = std::make_unique<RowCache>(cache, largest_row(model), stats_.table_rows);
        stats_.rows = cache_->capacity();
        stats_.cache_bytes = cache_->bytes();
    }
    stats_.direct = reader_.direct();
    stats_.method = reader_.method();
    for (std::size_t group = kGroups; group > 0;) free_.push_back(--group);
}

std::optional<EngramStats> StreamingEngramStore::stats() const {
    std::lock_guard lock(stats_mutex_);
    return stats_;
}

void StreamingEngramStore::begin_pass(const Batch& batch) {
    settle();
    in_prompt_ = batch.has(RowsKind::prompt);
    {
        std::lock_guard lock(stats_mutex_);
        traffic().tokens += batch.rows();
    }
    for (Table& table : tables_)
        if (table.computed) look_up(table, batch);
    start();
}

void StreamingEngramStore::look_up(Table& table, const Batch& batch) {
    std::vector<std::int64_t> asked;
    append_rows(hash_, static_cast<int>(&table - tables_.data()), batch, asked);
    table.rows = asked;
    std::sort(table.rows.begin(), table.rows.end());
    table.rows.erase(std::unique(table.rows.begin(), table.rows.end()), table.rows.end());
    table.asked.clear();
    for (const std::int64_t row : asked)
        table.asked.push_back(static_cast<std::uint32_t>(
            std::lower_bound(table.rows.begin(), table.rows.end(), row) - table.rows.begin()));
    table.bytes.resize(table.rows.size() * table.row_bytes());
    for (std::uint32_t i = 0; i < table.rows.size(); ++i) {
        const auto key = table.first_key + static_cast<std::uint64_t>(table.rows[i]);
        if (const std::byte* kept = cache_ ? cache_->find(key) : nullptr)
            std::memcpy(table.bytes.data() + i * table.row_bytes(), kept, table.row_bytes());
        else
            table.missing.push_back(i);
    }
    std::lock_guard lock(stats_mutex_);
    traffic().lookups += table.rows.size();
    traffic().hits += table.rows.size() - table.missing.size();
}

void StreamingEngramStore::start() {
    for (Table& table : tables_)
        while (table.started < table.missing.size() && !free_.empty()) {
            const std::size_t number = free_.back();
            Group& group = groups_[number];
            group.table = &table;
            group.first = table.started;
            group.last = std::min(table.missing.size(), group.first + kGroupRows);
            // Further rows in the blocks that are read anyhow take no room.
            while (group.last < table.missing.size() && ends_with(table, group.last - 1, group.last))
                ++group.last;
            const std::size_t bytes = plan(group, buffers_.data() + number * group_bytes_);
            reader_.submit(number, group.runs, ReadClass::demand);
            free_.pop_back();
            table.started = group.last;
            std::lock_guard lock(stats_mutex_);
            traffic().bytes_read += bytes;
        }
}

// Whether two of the missing rows end in the same blocks.
bool StreamingEngramStore::ends_with(const Table& table, std::size_t first, std::size_t second) {
    auto end = [&](const Part& part, std::size_t missing) {
        const auto run = run_of(part.place, part.file, table.rows[table.missing[missing]]);
        return run.first_block() + run.read_bytes();
    };
    return std::all_of(table.parts.begin(), table.parts.end(),
                       [&](const Part& part) { return end(part, first) == end(part, second); });
}

// Where the group's rows are read to. Returns the bytes of all runs. They have room, as rows that are read
// together take no more than each alone.
std::size_t StreamingEngramStore::plan(Group& group, std::byte* to) const {
    const Table& table = *group.table;
    std::size_t used = 0;
    group.runs.clear();
    for (const Part& part : table.parts) {
        const std::size_t first_run = group.runs.size();
        for (std::size_t i = group.first; i < group.last; ++i) {
            auto run = run_of(part.place, part.file, table.rows[table.missing[i]]);
            if (group.runs.size() > first_run) {
                auto& last = group.runs.back();
                auto both = last;
                both.size = run.begin + run.size - last.begin;
                if (run.first_block() <= last.first_block() + last.read_bytes() &&
                    both.read_bytes() <= kLongestRun) {
                    used += both.read_bytes() - last.read_bytes();
                    last = both;
                    continue;
                }
            }
            run.to = to + used;
            used += run.read_bytes();
            group.runs.push_back(run);
        }
    }
    CACHALOT_CHECK(used <= group_bytes_);
    return used;
}

void StreamingEngramStore::finished(const BlockReader::Finished& job) {
    const Group& group = groups_[static_cast<std::size_t>(job.job)];
    free_.push_back(static_cast<std::size_t>(job.job));
    Table& table = *group.table;
    if (!job.error.empty()) {
        if (table.error.empty()) table.error = job.error;
        return;
    }
    auto run = group.runs.begin();
    for (const Part& part : table.parts)
        for (std::size_t i = group.first; i < group.last; ++i) {
            const std::size_t row = table.missing[i];
            const auto alone = run_of(part.place, part.file, table.rows[row]);
            // Runs are in the order of the rows, and a row lies in one of them.
            while (run->file != alone.file || alone.begin < run->begin ||
                   alone.begin + alone.size > run->begin + run->size)
                ++run;
            std::memcpy(table.bytes.data() + row * table.row_bytes() + part.at,
                        run->to + (alone.begin - run->first_block()), alone.size);
        }
    table.arrived += group.last - group.first;
}

void StreamingEngramStore::proceed() {
    while (const auto job = reader_.next(false)) finished(*job);
    start();
}

void StreamingEngramStore::read(int number, std::span<float> out) {
    using Clock = std::chrono::steady_clock;
    Table& table = tables_[static_cast<std::size_t>(number)];
    CACHALOT_CHECK(table.computed);
    const auto begin = Clock::now();
    proceed();
    const std::size_t ahead = table.arrived;
    while (table.arrived < table.missing.size() && table.error.empty()) {
        const auto job = reader_.next(true);
        CACHALOT_CHECK(job);
        finished(*job);
        start();
    }
    {
        std::lock_guard lock(stats_mutex_);
        traffic().ahead += ahead;
        traffic().wait_seconds += std::chrono::duration<double>(Clock::now() - begin).count();
    }
    if (!table.error.empty()) fail("{} (the Engram table of layer {})", table.error, table.layer);
    const EngramTable& source = *table.source;
    auto bytes = [&](std::size_t row) { return table.bytes.data() + row * table.row_bytes(); };
    if (cache_)
        for (const std::uint32_t row : table.missing)
            cache_->offer(table.first_key + static_cast<std::uint64_t>(table.rows[row]), bytes(row));
    const auto size = static_cast<std::size_t>(config_.row_size);
    for (std::size_t i = 0; const std::uint32_t row : table.asked)
        source.decode(bytes(row), source.scales.file ? bytes(row) + source.values.bytes : nullptr,
                      out.subspan(size * i++, size));
}

void StreamingEngramStore::settle() {
    for (std::size_t group = 0; group < kGroups && reader_.under_way() > 0; ++group)
        if (std::find(free_.begin(), free_.end(), group) == free_.end() && reader_.withdraw(group))
            free_.push_back(group);
    while (const auto job = reader_.next(true)) finished(*job);
    for (Table& table : tables_) {
        table.missing.clear();
        table.started = table.arrived = 0;
        table.error.clear();
    }
}

}  // namespace cachalot
