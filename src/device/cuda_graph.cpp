#include "device/cuda_graph.h"

#include "device/cuda_device.h"
#include "device/cuda_error.h"

namespace cachalot {

CudaGraph::CudaGraph(Stream& stream, const std::function<void()>& issue) {
    const auto handle = cuda_handle(stream);
    cudaGraph_t graph = nullptr;
    check_cuda(cudaStreamBeginCapture(handle, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    try {
        issue();
    } catch (...) {
        cudaStreamEndCapture(handle, &graph);
        cudaGetLastError();
        if (graph) cudaGraphDestroy(graph);
        throw;
    }
    check_cuda(cudaStreamEndCapture(handle, &graph), "cudaStreamEndCapture");
    cudaGraphGetNodes(graph, nullptr, &nodes_);
    const auto status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(status, "cudaGraphInstantiate");
}

CudaGraph::~CudaGraph() { cudaGraphExecDestroy(executable_); }

void CudaGraph::launch(Stream& stream) const {
    check_cuda(cudaGraphLaunch(executable_, cuda_handle(stream)), "cudaGraphLaunch");
}

}  // namespace cachalot
