// Numbers in decimal notation, of any size and exact.
#pragma once

#include <compare>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace cachalot::grammar {

struct Decimal {
    bool negative = false;
    std::string whole = "0";    // without leading zeros, but for the only one
    std::string fraction = {};  // without trailing zeros

    // Of a JSON number; nothing if its exponent is beyond 40 either way.
    static std::optional<Decimal> of(const nlohmann::ordered_json& number);

    bool is_zero() const { return whole == "0" && fraction.empty(); }
    bool is_integer() const { return fraction.empty(); }
    std::strong_ordering operator<=>(const Decimal& other) const;
    bool operator==(const Decimal& other) const { return (*this <=> other) == 0; }
};

}  // namespace cachalot::grammar
