// What the metadata of a GGUF file says of a V4.1 model beyond V4's.
#pragma once

#include <string>
#include <vector>

#include "file/gguf_writer.h"
#include "model/config.h"
#include "model/gguf_fields.h"

namespace cachalot {

// The plan of the layers, whose ratios are known. Throws Error.
V41Layers read_v41_layers(const Gguf& file, const GgufFields& fields, std::vector<int> ratios);

// The rest; `config` has its layers. Throws Error.
void read_v41(const GgufFields& fields, Config& config);

// `prefix` is that of the architecture's keys.
void write_v41(const Config& config, const std::string& prefix, GgufWriter& writer);

}  // namespace cachalot
