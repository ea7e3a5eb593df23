#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "engine/open_engine.h"

namespace cachalot {
namespace {

// Installed with the program, else in the source tree that it was built from.
std::string nano() {
    std::error_code error;
    std::vector<std::filesystem::path> places;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
    if (!error) {
        places.push_back(program.parent_path() / "../share/cachalot/nano.gguf");
        places.push_back(program.parent_path() / "../../models/nano/nano.gguf");
    }
    places.push_back(std::filesystem::path(CACHALOT_SOURCE_DIR) / "models/nano/nano.gguf");
    for (const auto& place : places)
        if (std::filesystem::exists(place, error)) return place.lexically_normal().string();
    fail("no model: give one with -m FILE or $CACHALOT_MODEL");
}

}  // namespace

bool finds_nano(const std::string& given) {
    const char* environment = std::getenv("CACHALOT_MODEL");
    return given.empty() && (!environment || !*environment);
}

std::string find_model(const std::string& given) {
    if (finds_nano(given)) return nano();
    return given.empty() ? std::getenv("CACHALOT_MODEL") : given;
}

}  // namespace cachalot
