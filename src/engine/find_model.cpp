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

constexpr std::string_view kShipped[] = {"nano", "nano41"};

// Installed with the program, else in the source tree that it was built from.
std::optional<std::string> shipped(const std::string& name) {
    std::error_code error;
    std::vector<fs::path> places;
    const std::string file = name + ".gguf";
    const auto program = fs::read_symlink("/proc/self/exe", error);
    if (!error) {
        places.push_back(program.parent_path() / "../share/cachalot" / file);
        places.push_back(program.parent_path() / "../../models" / name / file);
    }
    places.push_back(fs::path(CACHALOT_SOURCE_DIR) / "models" / name / file);
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
    if (std::find(std::begin(kShipped), std::end(kShipped), path) != std::end(kShipped) &&
        !fs::exists(path, error))
        if (auto model = shipped(path)) return *model;
    return path;
}

}  // namespace cachalot
