// Strict JSON for files that come from outside.
//
// The parser of nlohmann-json is sound against malformed text. Three things are added, because a file that
// two programs read differently is a way to smuggle something past one of them, and because a small text can
// describe a large tree: a key that occurs twice in an object is an error (usually the last one wins), the
// depth is limited, and so is the number of values.
#pragma once

#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cachalot {

struct JsonLimits {
    int depth = 16;
    std::size_t members = 10'000;  // of the outermost object
    std::size_t values = 100'000;  // in one member of the outermost object
};

// Parses a text whose outermost value is an object. Throws Error starting with `source`.
nlohmann::json parse_file_json(std::string_view text, std::string_view source, const JsonLimits& limits = {});

// The same for a large object: calls `on_member` for each member of the outermost object as soon as it is
// complete and forgets it, so that memory holds one member at a time.
void parse_json_members(std::string_view text, std::string_view source, const JsonLimits& limits,
                        const std::function<void(const std::string& name, nlohmann::json& value)>& on_member);

}  // namespace cachalot
