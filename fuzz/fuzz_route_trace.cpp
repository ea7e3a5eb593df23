// Any bytes must be a valid route trace or an Error; a trace can be replayed.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "measure/cache_simulator.h"

using namespace cachalot;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const auto trace = parse_route_trace({reinterpret_cast<const char*>(data), size}, "fuzz");
        if (trace.header.layers * trace.header.experts > 4096 || trace.tokens.size() > 64) return 0;
        const auto slots = 1 + static_cast<int>(size % 64);
        for (const auto policy : {"forecast", "belady", "arc"}) (void)summarize(replay(trace, slots, policy));
    } catch (const Error&) {
    }
    return 0;
}
