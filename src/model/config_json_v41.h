// What config.json of a V4.1 release has beyond V4's, and the drafter of either.
#pragma once

#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/json_fields.h"

namespace cachalot {

// The plan of the layers, whose ratios are known. Throws Error for keys that are missing or no numbers.
V41Layers read_v41_layers(const JsonFields& text, std::vector<int> ratios);

// The rest: Engram, candidates, drafter, pictures. `text` holds the keys of the text model, `outer` is what
// it lies in, or the same.
void read_v41(const JsonFields& text, const JsonFields& outer, std::string_view source, Config& config);

// The drafter of so many stages that stands beside the layers, which are known; nothing if the keys are
// absent.
void read_dspark(const JsonFields& text, int stages, Config& config);

}  // namespace cachalot
