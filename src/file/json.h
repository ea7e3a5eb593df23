// Strict JSON for files that come from outside.
//
// The parser of nlohmann-json is sound against malformed text. What is added here: the depth is limited,
// because a small text can describe a large tree, and nothing is ambiguous, because a file that two programs
// read differently is a way to smuggle something past one of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cachalot {

// Parses a text whose outermost value is an object. A key that occurs twice in an object is an error (the
// parser alone would keep the last one), and so is more than max_depth levels or max_values values. Throws
// Error starting with `source`.
nlohmann::json parse_file_json(std::string_view text, std::string_view source, int max_depth = 16,
                               std::size_t max_values = 100'000);

// Throws the Error for a text that is no JSON: "FILE: is no JSON at line 3, column 5; ...", with what it is
// instead if that can be told. `position` counts bytes from 0.
[[noreturn]] void fail_no_json(std::string_view text, std::string_view source, std::size_t position);

// The same for a text that another parser has refused; does nothing if it is JSON.
void check_json(std::string_view text, std::string_view source);

// Receives a text value by value, for texts too large to be held as a tree. `depth` is the number of objects
// and arrays around the value: 1 for the members of the outermost object. A handler throws Error to refuse,
// and has to look for repeated keys itself.
class JsonHandler {
  public:
    virtual ~JsonHandler() = default;
    virtual void key(int depth, std::string& name) = 0;
    virtual void text(int depth, std::string& value) = 0;
    virtual void natural(int depth, std::uint64_t value) = 0;
    virtual void other(int depth) = 0;  // any other number, a boolean or null
    virtual void open(int depth, bool is_array) = 0;
    virtual void close(int depth) = 0;
};

// Feeds a text whose outermost value is an object to a handler. Throws Error starting with `source` if the
// text is malformed or has more than max_depth levels.
void scan_json(std::string_view text, std::string_view source, int max_depth, JsonHandler& handler);

}  // namespace cachalot
