// Stop strings come from a request and the text from a model; how the text is cut into pieces may not matter.
//
// The input is split at zero bytes: stop strings, an empty one to end them, then the text.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sampling/stop.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input(reinterpret_cast<const char*>(data), size);
    std::vector<std::string> stops;
    for (;;) {
        auto end = input.find('\0');
        if (end == std::string_view::npos) break;
        std::string stop(input.substr(0, end));
        input.remove_prefix(end + 1);
        if (stop.empty()) break;
        stops.push_back(std::move(stop));
    }
    try {
        cachalot::StopMatcher at_once(stops), in_bytes(stops);
        std::string whole = at_once.push(input).text + at_once.finish();
        std::string pieces;
        for (char c : input) pieces += in_bytes.push({&c, 1}).text;
        pieces += in_bytes.finish();
        CACHALOT_CHECK(whole == pieces && at_once.matched() == in_bytes.matched());
        for (const auto& stop : stops) CACHALOT_CHECK(whole.find(stop) == std::string::npos);
    } catch (const cachalot::Error&) {  // refused, which is fine
    }
    return 0;
}
