// Numbers of bytes for people.
#pragma once

#include <cstdint>
#include <string>

namespace cachalot {

std::string human_bytes(std::uint64_t bytes);  // "49.98 MB"

}  // namespace cachalot
