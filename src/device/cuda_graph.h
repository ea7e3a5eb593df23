// Works of a card's stream that were recorded once and are given again as one: the driver takes a few
// microseconds for all of them together, instead of as many for each.
#pragma once

#include <functional>

#include "device/device.h"

struct CUgraphExec_st;

namespace cachalot {

class CudaGraph {
  public:
    // Records what issue() gives to the stream: kernels, copies within the card. Nothing of it runs yet.
    // Throws what issue() throws, and Error if it gave something that cannot be recorded.
    CudaGraph(Stream& stream, const std::function<void()>& issue);
    ~CudaGraph();
    CudaGraph(const CudaGraph&) = delete;
    CudaGraph& operator=(const CudaGraph&) = delete;

    void launch(Stream& stream) const;
    std::size_t nodes() const { return nodes_; }

  private:
    CUgraphExec_st* executable_ = nullptr;
    std::size_t nodes_ = 0;
};

}  // namespace cachalot
