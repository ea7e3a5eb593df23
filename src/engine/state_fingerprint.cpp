#include "engine/state_fingerprint.h"

#include <string_view>

#include "model/fingerprint.h"

namespace cachalot {
namespace {

constexpr int kFormat = 1;  // one more whenever states are computed or laid out differently

}  // namespace

ChainKey state_fingerprint(const Engine& engine) {
    // The number of threads, at the end of the name, changes no result.
    const std::string_view kernels = engine.backend().name();
    const auto text =
        fmt::format("{};{};{};{};", kFormat, static_cast<int>(engine.options().precision),
                    static_cast<int>(engine.options().kv), kernels.substr(0, kernels.rfind(" x"))) +
        model_identity(engine.model());
    return hash128(std::as_bytes(std::span(text)));
}

}  // namespace cachalot
