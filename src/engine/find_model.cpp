#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <optional>

#include "base/error.h"
#include "engine/open_engine.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

// Each in the folder of its model.
struct Shipped {
    std::string_view name, folder;
};
constexpr Shipped kShipped[] = {{"nano", "nano"}, {"nano41", "nano41"}, {"nano-dspark", "nano"}};

// Installed with the program, else in the source tree that it was built from.
std::optional<std::string> shipped(std::string_view name) {
    const auto found = std::ranges::find(kShipped, name, &Shipped::name);
    if (found == std::end(kShipped)) return {};
    std::error_code error;
    std::vector<fs::path> places;
    const std::string file = std::string(name) + ".gguf";
    const auto program = fs::read_symlink("/proc/self/exe", error);
    if (!error) {
        places.push_back(program.parent_path() / "../share/cachalot" / file);
        places.push_back(program.parent_path() / "../../models" / found->folder / file);
    }
    places.push_back(fs::path(CACHALOT_SOURCE_DIR) / "models" / found->folder / file);
    for (const auto& place : places)
        if (fs::exists(place, error)) return place.lexically_normal().string();
    return {};
}

}  // namespace

bool finds_nano(const std::string& given) {
    const char* environment = std::getenv("CACHALOT_MODEL");
    return given.empty() && (!environment || !*environment);
}

std::string find_model(const std::string& given) {
    if (finds_nano(given)) {
        if (auto nano = shipped("nano")) return *nano;
        fail("no model: give one with -m FILE or $CACHALOT_MODEL");
    }
    const std::string path = given.empty() ? std::getenv("CACHALOT_MODEL") : given;
    std::error_code error;
    if (!fs::exists(path, error))
        if (auto model = shipped(path)) return *model;
    return path;
}

}  // namespace cachalot
