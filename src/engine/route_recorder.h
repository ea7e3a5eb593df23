// Writes which experts were chosen, pass by pass, in the format of experts/route_trace.h.
//
// What the cache of experts is told about a pass is told to the trace: the replay of a trace by the simulator
// gives the counters of the cache that was at work.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <vector>

#include "experts/route_trace.h"
#include "state/batch.h"

namespace cachalot {

class RouteRecorder {
  public:
    // Throws Error if the file cannot be written.
    RouteRecorder(const std::filesystem::path& path, const RouteHeader& header);

    // One pass: begin(), layer() for each layer with its experts [rows, k], commit(). A pass that is begun
    // and not committed is forgotten. commit() throws Error if the file cannot be written.
    void begin(const Batch& batch);
    void layer(int layer, std::span<const std::int32_t> experts);
    void commit();

  private:
    std::uint32_t sequence_of(const KvState& state);

    RouteTraceWriter writer_;
    std::size_t layers_, top_k_;
    std::vector<RoutedToken> tokens_;                   // [rows]
    std::vector<std::uint16_t> choices_;                // [rows, layers, top_k]
    std::map<std::uint64_t, std::uint32_t> sequences_;  // by the states' ids
    std::uint32_t next_sequence_ = 0;
};

}  // namespace cachalot
