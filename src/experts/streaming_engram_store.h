// Engram tables that stay on disk: the rows of a pass are read past the page cache, as soon as its tokens are
// known, and rows that are used often are kept.
//
// For each table of a pass:
//
//     begin_pass  the rows of all tokens, each once, in the order of the file. Those in the cache
//                 (row_cache.h) are copied; reads of the others are started, those of the first table first
//     read        waits for what is still missing of this table, offers the cache what was read, and decodes
//
// Reads are of the class of those that somebody waits for. With a queue that is shared with the store of
// experts they are so started before experts are, which is right: they are small, and a layer needs all of
// them before it can do anything.
//
// Rows are read in groups: the blocks of the disk that they lie in, neighbours once, into a buffer from which
// the rows alone are copied. There are 64 buffers for 128 rows each, 64 MiB for rows in one piece. The rows
// of an answer's token always find one; those of a long prompt go through them one after the other, while
// layers are computed (proceed). Beside the buffers there are only the rows themselves, some 13 KB for a
// token.
//
// What a pass computes does not depend on what is in the cache. A pass with a row that cannot be read ends
// with an Error, and leaves nothing behind but reads that the next one waits for.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <string>

#include "experts/engram_store.h"
#include "experts/row_cache.h"
#include "file/block_reader.h"
#include "model/layer_range.h"
#include "model/model.h"

namespace cachalot {

class StreamingEngramStore final : public EngramStore {
  public:
    static constexpr std::uint64_t kGroupRows = 128, kGroups = 64;

    // Bytes of the buffers of a model's tables.
    static std::uint64_t buffer_bytes(const Model& model);
    // Bytes of a cache for one row of them.
    static std::uint64_t smallest_cache(const Model& model);
    // The same of tables that are not there, as they would lie in a GGUF file.
    static std::uint64_t buffer_bytes(const EngramConfig& config);
    static std::uint64_t smallest_cache(const EngramConfig& config);

    // For the tables of these layers. `cache`: bytes for rows that are kept; 0: none are. The model must
    // outlive the store. Throws Error if there is not so much memory or no room for one row in it.
    StreamingEngramStore(const Model& model, const LayerRange& layers, std::uint64_t cache,
                         std::unique_ptr<ReadQueue> queue = make_read_queue());

    void begin_pass(const Batch& batch) override;
    void proceed() override;
    void read(int table, std::span<float> out) override;
    std::optional<EngramStats> stats() const override;  // by any thread

    std::uint64_t cached_rows() const { return cache_ ? cache_->residents() : 0; }

  private:
    struct Part {  // of each row
        RowPart place;
        std::size_t file;  // of the reader
        std::size_t at;    // in a row in memory
    };
    struct Table {
        const EngramTable* source;
        int layer;
        bool computed;            // by this process
        std::uint64_t first_key;  // in the cache, of its first row
        std::vector<Part> parts;
        // Of the pass:
        std::vector<std::int64_t> rows;      // that are read, ascending
        std::vector<std::uint32_t> asked;    // [tokens, rows_per_token]: which of them
        std::vector<std::byte> bytes;        // [rows, row_bytes]
        std::vector<std::uint32_t> missing;  // which rows were not in the cache, ascending
        std::size_t started = 0;             // of missing, reads have been asked for
        std::size_t arrived = 0;
        std::string error;  // of the first row that cannot be read

        std::size_t row_bytes() const { return static_cast<std::size_t>(source->row_bytes()); }
    };
    struct Group {  // of rows that are read together
        Table* table;
        std::size_t first, last;             // of table->missing
        std::vector<BlockReader::Run> runs;  // of the first part of all of them, then of the next one
    };

    void look_up(Table& table, const Batch& batch);
    void start();  // reads what there is a buffer for
    static bool ends_with(const Table& table, std::size_t first, std::size_t second);
    std::size_t plan(Group& group, std::byte* to) const;
    void finished(const BlockReader::Finished& job);
    void settle();  // what a pass that failed has left
    EngramStats::Traffic& traffic() { return in_prompt_ ? stats_.prompt : stats_.decode; }

    const EngramConfig& config_;
    const EngramHash& hash_;
    std::vector<Table> tables_;
    std::unique_ptr<RowCache> cache_;  // null: none
    std::uint64_t group_bytes_;
    LargeMemory buffers_;                // [groups, group_bytes]
    std::array<Group, kGroups> groups_;  // those that are not in free_ are under way
    std::vector<std::size_t> free_;      // groups, the next one last
    BlockReader reader_;                 // after the memory that it writes to; jobs are numbers of groups
    bool in_prompt_ = false;

    mutable std::mutex stats_mutex_;
    EngramStats stats_;
};

}  // namespace cachalot
