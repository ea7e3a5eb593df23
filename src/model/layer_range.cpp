#include "model/layer_range.h"

#include "base/error.h"

namespace cachalot {

LayerRange layer_range(const Config& config, int first, int last) {
    if (first < 0 || first >= last || last > config.layers)
        fail("layers {} to {} are no part of the model, which has layers 0 to {}", first, last - 1,
             config.layers - 1);
    for (int l = first; l < last; ++l) {
        const LayerShape& shape = config.shape(l);
        for (const int source : {shape.kv_source, shape.index_source, shape.candidate_source})
            if (source >= 0 && source < first)
                fail("layers {} to {} cannot be computed by themselves: layer {} needs what layer {} makes",
                     first, last - 1, l, source);
    }
    return {first, last, first == 0, last == config.layers};
}

}  // namespace cachalot
