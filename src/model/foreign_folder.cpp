#include "model/foreign_folder.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/checkpoint_files.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

struct Names {
    std::vector<std::string> all, gguf, torch, weights;  // each sorted

    bool has(const char* name) const { return std::binary_search(all.begin(), all.end(), name); }
};

Names names_in(const fs::path& folder) {
    Names names;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
        names.all.push_back(it->path().filename().string());
    if (error) fail("{}: cannot be read: {}", folder.string(), error.message());
    std::sort(names.all.begin(), names.all.end());
    for (const auto& name : names.all) {
        const auto ending = fs::path(name).extension();
        if (names_model_file(name)) names.gguf.push_back(name);
        if (ending == ".safetensors" && !name.starts_with("adapter_")) names.weights.push_back(name);
        if (ending == ".pth" || ending == ".pt" || ending == ".ckpt" ||
            (ending == ".bin" && name.starts_with("pytorch_model")))
            names.torch.push_back(name);
    }
    return names;
}

// What lies there instead of a release's weights.
[[noreturn]] void fail_without_weights(const fs::path& folder, const Names& names) {
    const auto where = folder.string();
    if (names.all.empty()) fail("{}: is an empty folder; give a GGUF file or the folder of a release", where);
    if (!names.gguf.empty())
        fail("{}: is a folder with GGUF files; give {}{}", where,
             (folder / names.gguf.front()).lexically_normal().string(),
             names.gguf.size() > 1 ? ", or another one of them" : "");
    if (names.has("adapter_config.json") || names.has("adapter_model.safetensors"))
        fail("{}: holds an adapter (LoRA), not a model; give the model that it was trained for", where);
    if (!names.torch.empty())
        fail("{}: holds weights of PyTorch ({}); get the model as safetensors or GGUF", where,
             names.torch.front());
    if (names.has("config.json"))
        fail("{}: has config.json but no weights (*.safetensors); download the rest of the release", where);
    fail(
        "{}: is a folder without a model; "
        "give a GGUF file, or the folder that has config.json and *.safetensors",
        where);
}

}  // namespace

void check_release_folder(const fs::path& folder) {
    constexpr const char* kIndex = "model.safetensors.index.json";
    const Names names = names_in(folder);
    const bool index = names.has(kIndex);
    if (names.weights.empty() && !index) fail_without_weights(folder, names);
    for (const char* name : {"config.json", "tokenizer.json", kIndex}) {
        std::error_code error;
        const fs::path path = folder / name;
        if (names.has(name) && !fs::exists(path, error))
            fail("{}: is a link to {}, which does not exist; download or copy it again", path.string(),
                 fs::read_symlink(path, error).string());
    }
    if (!names.has("config.json"))
        fail("{}: has weights but no config.json; download the rest of the release", folder.string());
    if (!index && !names.has("model.safetensors"))
        fail(
            "{}: has weights ({}) but no {}, which tells where each tensor is; "
            "download the rest of the release",
            folder.string(), names.weights.front(), kIndex);
}

}  // namespace cachalot
