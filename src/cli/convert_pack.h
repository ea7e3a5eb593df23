// convert --pack: the routed experts of a model once more, in a file that the expert cache reads faster.
#pragma once

#include <string>

namespace cachalot::cli {

// `output` empty: beside the model, where it is found by itself.
void convert_to_pack(const std::string& input, std::string output, bool force);

}  // namespace cachalot::cli
