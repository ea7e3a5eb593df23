#include "model/layer_range.h"

#include "base/error.h"

namespace cachalot {

LayerRange layer_range(const Config& config, int first, int last) {
    if (first < 0 || first >= last || last > config.layers)
        fail("layers {} to {} are no part of the model, which has layers 0 to {}", first, last - 1,
             config.layers - 1);
    return {first, last, first == 0, last == config.layers};
}

}  // namespace cachalot
