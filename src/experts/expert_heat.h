// How often each expert of a model is used, over many sessions: what the next start warms its cache with.
//
// The policy forgets within a few hundred tokens, as it must to follow a conversation. What somebody works on
// changes more slowly, so this has counts with a half-life of 4,096 tokens, as rates: 1 is an expert that
// every token chose. They are kept in a file, one for each model, little-endian:
//
//     offset  bytes
//     0       8      CCHEAT01
//     8       16     fingerprint of the model
//     24      4      layers L
//     28      4      experts of a layer E
//     32      8      tokens that the rates are of (float64), older ones counting less
//     40      4 L E  rate of each expert (float32), layer by layer
//     ..      16     XXH3-128 of all bytes before
//
// It says which experts somebody's texts use, and nothing else about them.
#pragma once

#include <filesystem>
#include <vector>

#include "base/hash.h"
#include "experts/policy/replacement_policy.h"
#include "model/model.h"

namespace cachalot {

class ExpertHeat {
  public:
    ExpertHeat(int layers, int experts, const Hash128& model);

    // A pass over that many tokens begins; then for each expert how many of them chose it.
    void begin_pass(int tokens);
    void count(ExpertKey key, int tokens) { counts_[key] += unit_ * tokens; }

    double rate(ExpertKey key) const;
    double tokens() const { return mass_ / unit_; }

    // Those that were used at all, hottest first.
    std::vector<ExpertKey> hottest() const;

    // Replaces everything by what is in a file. Throws Error naming it if it cannot be read, is damaged, or
    // is of another model; then nothing has changed.
    void load(const std::filesystem::path& path);

    // The file is there as a whole or not at all, in a folder that exists. Throws Error.
    void save(const std::filesystem::path& path) const;

  private:
    int layers_, experts_;
    Hash128 model_;
    // Instead of making all counts smaller, those that come are made larger.
    double unit_ = 1;             // what a choice counts now
    double mass_ = 0;             // what an expert would have that every token chose
    std::vector<double> counts_;  // [keys]
};

// What earlier sessions used, and the file to keep it in.
struct HeatFile {
    ExpertHeat heat;
    std::filesystem::path path;
};

// Of a model; reads the file if there is one. Throws Error if it is damaged or of another model.
HeatFile open_heat_file(const Model& model, const std::filesystem::path& path);

}  // namespace cachalot
