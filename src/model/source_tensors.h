// Whether the tensors of a file are those of the layers that its configuration describes.
#pragma once

#include "file/tensor_file.h"
#include "model/config.h"

namespace cachalot {

// Throws Error for a layer of V4.1 that has an Engram table, compressed rows or an indexer in the file, but
// not by the configuration: the two belong to different models. Without the check such a layer would be run
// as if it had them not, and nobody would notice. The other way round loading names the missing tensor.
void check_source_tensors(const TensorFile& file, const Config& config);

}  // namespace cachalot
