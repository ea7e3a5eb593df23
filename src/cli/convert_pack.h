// convert --pack: the routed experts of a model once more, in a file that the expert cache reads faster.
#pragma once

#include <string>

namespace cachalot::cli {

// `engram`: the file with the model's Engram tables, or empty. `output` empty: beside the model, where it is
// found by itself.
void convert_to_pack(const std::string& input, const std::string& engram, std::string output, bool force);

}  // namespace cachalot::cli
