// Schemas come from clients: a schema is refused with an Error or compiled in a time that fits its size, and
// the grammar it becomes never leads to a dead end: whatever follows the mask is JSON, and gets on.
//
// The input is a JSON text, a zero byte, then bytes that choose tokens.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "grammar/json_schema.h"
#include "grammar_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::size_t end = std::min(input.find('\0'), input.size());
    const auto schema = nlohmann::ordered_json::parse(input.substr(0, end), nullptr, false);
    if (schema.is_discarded()) return 0;
    cachalot::grammar::Limits limits;
    limits.nodes = 20'000;
    limits.products = 500;
    limits.alternatives = 500;
    try {
        const auto grammar = cachalot::grammar::compile_json_schema(schema, limits);
        const std::string text = cachalot::fuzz::walk(grammar, input.substr(std::min(end + 1, input.size())));
        if (cachalot::grammar::matches(*grammar, text)) CACHALOT_CHECK(nlohmann::json::accept(text));
    } catch (const cachalot::Error&) {  // refused, which is fine
    }
    return 0;
}
