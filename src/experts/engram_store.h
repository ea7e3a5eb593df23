// Where the rows of Engram tables come from (model/engram_config.h).
//
// Which rows a token reads depends on the token and those before it, on nothing that is computed. So they are
// known when a pass begins, and a store may fetch them while the layers before are computed.
#pragma once

#include <span>

#include "model/engram_hash.h"
#include "model/weights.h"
#include "state/batch.h"

namespace cachalot {

class EngramStore {
  public:
    virtual ~EngramStore() = default;

    // A pass over all layers begins.
    virtual void begin_pass(const Batch& batch) = 0;

    // The rows of all tokens of the pass in the table of this number, decoded, those of a token one after the
    // other: out [rows, EngramConfig::input_size()]. Throws Error if they cannot be read.
    virtual void read(int table, std::span<float> out) = 0;
};

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
