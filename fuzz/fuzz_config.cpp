// Any text must be the configuration of a model or an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        (void)cachalot::config_from_json({reinterpret_cast<const char*>(data), size}, "fuzz/config.json");
    } catch (const cachalot::Error&) {
    }
    return 0;
}
