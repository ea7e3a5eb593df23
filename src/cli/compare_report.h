// What `cachalot compare` found, as text, JSON and picture.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "measure/divergence.h"

namespace cachalot::cli {

struct Compared {
    std::string a, b, text;  // names
    std::size_t window = 0;
    Comparison result;
};

std::string compare_text(const Compared& c);
nlohmann::ordered_json compare_json(const Compared& c);
std::string compare_svg(const Compared& c);

}  // namespace cachalot::cli
