// The routes of the last passes, and which experts passes like the present one went to next.
//
// Text repeats itself, and so does its routing: where the experts of the layers so far are those of an
// earlier token, the experts of the following layers tend to be, too, and so do those of the token after it.
// The similarity of a remembered pass is the number of choices that it shares with the present one, layer by
// layer, older layers counting less. It runs on over the end of a token: what followed a similar token begins
// the next one with its similarity.
//
// An idea of request-level traces (MoE-Infinity, arXiv 2401.14361) at the scale of tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cachalot {

class RouteMemory {
  public:
    explicit RouteMemory(int layers);

    // The pass so far is remembered, and another one begins.
    void begin_pass();

    // The router of the present layer comes; its choices follow.
    void begin_layer(int layer);
    void add(int expert);

    // For each expert of a layer the share of the similar passes that chose it, [E], when that layer is
    // visited next: in this pass for the layers to come, in the next pass for the others. `shares` is
    // overwritten.
    void shares_at_next_visit(int layer, std::span<float> shares);

  private:
    struct Neighbour {
        std::size_t pass;  // index into passes_
        float weight;      // they add up to 1
    };
    using Route = std::vector<std::vector<std::uint16_t>>;  // [layers], the chosen experts

    void find_neighbours();

    std::size_t layers_;
    std::size_t layer_ = 0;
    Route present_;
    std::vector<Route> passes_;        // oldest first
    std::vector<double> similarity_;   // [passes]
    double most_ = 0;                  // what a pass that shares all choices would have
    bool stale_ = true;                // the neighbours are to be found anew
    std::vector<Neighbour> alike_;     // most similar passes
    std::vector<Neighbour> followed_;  // those after them
};

}  // namespace cachalot
