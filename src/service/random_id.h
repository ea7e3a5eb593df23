// Names that nobody can guess: of answers, and of tool calls, which are keys to what the server remembers.
#pragma once

#include <string>
#include <string_view>

namespace cachalot::server {

// `prefix` and `length` letters and digits from the operating system's generator.
std::string random_id(std::string_view prefix, std::size_t length = 24);

}  // namespace cachalot::server
