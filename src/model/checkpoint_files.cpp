#include "model/checkpoint_files.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace cachalot {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTexts[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "added_tokens.json",
    "special_tokens_map.json",
    "model.safetensors.index.json",
    "chat_template.jinja",
    "LICENSE",
    "README.md",
};

bool of_release(const std::string& name) {
    return name.ends_with(".safetensors") || names_model_file(name) ||
           std::find(std::begin(kTexts), std::end(kTexts), name) != std::end(kTexts);
}

// "flash-" of "flash-00002-of-00005.gguf"; empty of a file that is no part.
std::string_view before_number(std::string_view name) {
    constexpr std::string_view kForm = "00000-of-00000.gguf";
    if (name.size() <= kForm.size()) return {};
    const auto end = name.substr(name.size() - kForm.size());
    const auto fits = [](char form, char c) { return form == '0' ? c >= '0' && c <= '9' : c == form; };
    if (!std::equal(kForm.begin(), kForm.end(), end.begin(), fits)) return {};
    return name.substr(0, name.size() - kForm.size());
}

}  // namespace

CheckpointKind checkpoint_kind(const fs::path& model) {
    std::error_code error;
    return fs::is_directory(model, error) ? CheckpointKind::release : CheckpointKind::gguf;
}

bool names_model_file(std::string_view word) { return word.ends_with(".gguf"); }

std::vector<fs::path> checkpoint_files(const fs::path& model) {
    std::vector<fs::path> files = {model};
    std::error_code error;
    const bool release = checkpoint_kind(model) == CheckpointKind::release;
    const std::string own = model.filename().string();
    const auto base = before_number(own);
    if (!release && base.empty()) return files;
    const fs::path folder = release ? model : model.has_parent_path() ? model.parent_path() : ".";
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
        const std::string name = it->path().filename().string();
        if (release ? of_release(name) : before_number(name) == base) files.push_back(it->path());
    }
    return files;
}

}  // namespace cachalot
