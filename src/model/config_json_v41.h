// What config.json of a V4.1 release has beyond V4's.
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

}  // namespace cachalot
