#include "grammar/json_decimal.h"

#include <algorithm>
#include <cstdlib>

namespace cachalot::grammar {
namespace {

constexpr long kMostExponent = 40;

std::strong_ordering compare_sizes(const Decimal& a, const Decimal& b) {
    if (const auto order = a.whole.size() <=> b.whole.size(); order != 0) return order;
    if (const auto order = a.whole <=> b.whole; order != 0) return order;
    return a.fraction <=> b.fraction;
}

}  // namespace

std::optional<Decimal> Decimal::of(const nlohmann::ordered_json& number) {
    std::string text = number.dump();
    Decimal result;
    long exponent = 0;
    if (const auto e = text.find_first_of("eE"); e != std::string::npos) {
        exponent = std::strtol(text.c_str() + e + 1, nullptr, 10);
        text.resize(e);
    }
    if (std::abs(exponent) > kMostExponent) return std::nullopt;
    if (text.starts_with('-')) {
        result.negative = true;
        text.erase(0, 1);
    }
    const auto point = std::min(text.find('.'), text.size());
    result.whole = text.substr(0, point);
    if (point < text.size()) result.fraction = text.substr(point + 1);
    for (; exponent > 0; --exponent) {
        result.whole += result.fraction.empty() ? '0' : result.fraction.front();
        if (!result.fraction.empty()) result.fraction.erase(0, 1);
    }
    for (; exponent < 0; ++exponent) {
        result.fraction.insert(0, 1, result.whole.empty() ? '0' : result.whole.back());
        if (!result.whole.empty()) result.whole.pop_back();
    }
    result.whole.erase(0, result.whole.find_first_not_of('0'));
    if (result.whole.empty()) result.whole.assign(1, '0');
    result.fraction.erase(result.fraction.find_last_not_of('0') + 1);
    if (result.is_zero()) result.negative = false;
    return result;
}

std::strong_ordering Decimal::operator<=>(const Decimal& other) const {
    if (negative != other.negative)
        return negative ? std::strong_ordering::less : std::strong_ordering::greater;
    return negative ? compare_sizes(other, *this) : compare_sizes(*this, other);
}

}  // namespace cachalot::grammar
