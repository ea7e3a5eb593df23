// Where the rows of Engram tables come from (model/engram_config.h).
//
// Which rows a token reads depends on the token and those before it, on nothing that is computed. So they are
// known when a pass begins, and a store may fetch them while the layers before are computed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "experts/cache_traffic.h"
#include "model/engram_hash.h"
#include "model/weights.h"
#include "state/batch.h"

namespace cachalot {

// What a store that reads from the disk has done since it was made.
struct EngramStats {
    using Traffic = CacheTraffic;  // of rows
    Traffic decode, prompt;
    std::uint64_t rows = 0, table_rows = 0;  // that fit into the cache, that there are
    std::uint64_t cache_bytes = 0, table_bytes = 0;
    bool direct = false;      // reads pass the page cache by
    const char* method = "";  // of reading: "io_uring" or "threads"
};

class EngramStore {
  public:
    virtual ~EngramStore() = default;

    // A pass over all layers begins. Its tokens are known as soon as they are sampled or drafted, and the
    // scheduler does nothing but hand them out before the pass, so that nothing could be read earlier.
    // Throws Error if nothing can be read at all.
    virtual void begin_pass(const Batch& batch) = 0;

    // Between layers: takes in what has arrived and asks for more. Never waits.
    virtual void proceed() {}

    // The rows of all tokens of the pass in the table of this number, decoded, those of a token one after the
    // other: out [rows, EngramConfig::input_size()]. Once in a pass. Throws Error if they cannot be read.
    virtual void read(int table, std::span<float> out) = 0;

    // None if the tables are mapped. May be called by any thread.
    virtual std::optional<EngramStats> stats() const { return {}; }
};

// Appends the rows [rows of the batch, rows_per_token] that its tokens read of a table.
void append_rows(const EngramHash& hash, int table, const Batch& batch, std::vector<std::int64_t>& out);

// The tables are mapped; the operating system pages them.
class MappedEngramStore final : public EngramStore {
  public:
    // `config` and `weights` outlive the store.
    MappedEngramStore(const Config& config, const Weights& weights, EngramHash hash);

    void begin_pass(const Batch& batch) override;
    void read(int table, std::span<float> out) override;

  private:
    const EngramConfig& config_;
    std::vector<const EngramTable*> tables_;
    EngramHash hash_;
    std::vector<std::vector<std::int64_t>> rows_;  // [tables] of [rows, rows_per_token]
};

}  // namespace cachalot
