// What a path is as a model, and the files on disk that a model consists of; found by names alone.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace cachalot {

enum class CheckpointKind { gguf, release };

// A folder is a release. All else is taken for a GGUF file, also what does not exist: opening it tells more.
CheckpointKind checkpoint_kind(const std::filesystem::path& model);

// Whether a word ends as the files of models do, so that a model is meant where it stands by mistake.
bool names_model_file(std::string_view word);

// Of a GGUF file: the file, and the other parts of a split one. Of a release: its weights and the texts that
// belong to it, not whatever else lies in the folder. Of what does not exist: nothing but its name.
std::vector<std::filesystem::path> checkpoint_files(const std::filesystem::path& model);

}  // namespace cachalot
