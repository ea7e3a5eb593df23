#include "service/json_field.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

namespace cachalot::server {
namespace {

// The value of a number that is whole and fits: also of 512.0, as languages with one type of number write it.
std::optional<std::int64_t> whole_number(const ordered_json& number) {
    constexpr double kBeyond = 9223372036854775808.0;  // 2^63
    if (number.is_number_float()) {
        const double value = number.get<double>();
        if (!(value >= -kBeyond && value < kBeyond) || value != std::floor(value)) return std::nullopt;
        return static_cast<std::int64_t>(value);
    }
    // A number that is unsigned to the parser may be beyond int64.
    if (number.is_number_unsigned() && number.get<std::uint64_t>() > std::uint64_t{INT64_MAX})
        return std::nullopt;
    return number.get<std::int64_t>();
}

const char* with_article(const ordered_json& value) {
    switch (value.type()) {
        case ordered_json::value_t::object: return "an object";
        case ordered_json::value_t::array: return "an array";
        case ordered_json::value_t::string: return "a string";
        case ordered_json::value_t::boolean: return "true or false";
        default: return "a number";
    }
}

}  // namespace

Field Field::operator[](const char* name) const {
    static const ordered_json kNone;
    const auto& members = object();
    const auto found = members.find(name);
    return member(name, found != members.end() ? *found : kNone);
}

Field Field::member(const std::string& name, const ordered_json& value) const {
    return {value.is_null() ? nullptr : &value, path_.empty() ? name : path_ + "." + name};
}

Field Field::operator[](std::size_t index) const {
    if (index >= size()) refuse(fmt::format("has {} elements", size()));
    const auto& element = (*value_)[index];
    return {element.is_null() ? nullptr : &element, fmt::format("{}[{}]", path_, index)};
}

std::size_t Field::size() const {
    if (!is_array()) wrong("an array");
    return value_->size();
}

void Field::wrong(std::string_view expected) const {
    if (!value_) refuse(fmt::format("missing, expected {}", expected));
    refuse(fmt::format("expected {}, found {}", expected, with_article(*value_)));
}

void Field::refuse(std::string_view problem) const {
    if (path_.empty()) throw ApiError(400, "invalid_request", fmt::format("the request: {}", problem));
    throw ApiError(400, "invalid_request", fmt::format("{}: {}", path_, problem), path_);
}

const ordered_json& Field::json() const {
    if (!value_) wrong("a value");
    return *value_;
}

const ordered_json& Field::object() const {
    if (!is_object()) wrong("an object");
    return *value_;
}

const std::string& Field::string() const {
    if (!is_string()) wrong("a string");
    return value_->get_ref<const std::string&>();
}

bool Field::boolean() const {
    if (!value_ || !value_->is_boolean()) wrong("true or false");
    return value_->get<bool>();
}

std::int64_t Field::integer(std::int64_t low, std::int64_t high) const {
    const auto expected = fmt::format("an integer from {} to {}", low, high);
    if (!is_number()) wrong(expected);
    const auto found = whole_number(*value_);
    if (!found || *found < low || *found > high)
        refuse(fmt::format("expected {}, found {}", expected, value_->dump()));
    return *found;
}

double Field::number(double low, double high) const {
    if (!value_ || !value_->is_number()) wrong(fmt::format("a number from {} to {}", low, high));
    double number = value_->get<double>();
    if (!(number >= low && number <= high))
        refuse(fmt::format("expected a number from {} to {}, found {}", low, high, value_->dump()));
    return number;
}

std::vector<std::string> Field::string_or_array() const {
    if (is_string()) return {string()};
    if (!is_array()) wrong("a string or an array of strings");
    std::vector<std::string> all;
    for (std::size_t i = 0; i < size(); ++i) all.push_back((*this)[i].string());
    return all;
}

std::string Field::string_or(std::string_view fallback) const {
    return value_ ? string() : std::string(fallback);
}
bool Field::boolean_or(bool fallback) const { return value_ ? boolean() : fallback; }
std::int64_t Field::integer_or(std::int64_t fallback, std::int64_t low, std::int64_t high) const {
    return value_ ? integer(low, high) : fallback;
}
double Field::number_or(double fallback, double low, double high) const {
    return value_ ? number(low, high) : fallback;
}

}  // namespace cachalot::server
