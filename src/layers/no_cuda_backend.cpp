// In the place of cuda_backend.cpp where the program is built without CUDA: then no device is a card.
#include "base/error.h"
#include "layers/make_cuda_backend.h"

namespace cachalot {

void check_cuda_model(const Config& /*config*/, const LayerRange& /*range*/) {
    CACHALOT_CHECK(!"a program with CUDA");
}

std::unique_ptr<Backend> make_cuda_backend(Primitives& /*host*/, const Config& /*config*/,
                                           const Weights& /*weights*/,
                                           const std::shared_ptr<KvPool>& /*pool*/, Precision /*precision*/,
                                           Trace* /*trace*/) {
    CACHALOT_CHECK(!"a program with CUDA");
}

}  // namespace cachalot
