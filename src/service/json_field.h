// Reading fields of JSON from outside.
//
// Every field of a request is read through Field, which knows its place, so that every refusal names what is
// wrong: "messages[3].role", "temperature". Absent and null are the same.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "service/service.h"

namespace cachalot::server {

using nlohmann::ordered_json;

// A value together with its place in the request.
class Field {
  public:
    explicit Field(const ordered_json& value, std::string path = {})
        : value_(&value), path_(std::move(path)) {}

    explicit operator bool() const { return value_ != nullptr; }  // present and not null
    const std::string& path() const { return path_; }

    // The member of an object ("path.name"), the element of an array ("path[i]"). Throw ApiError if this is
    // neither.
    Field operator[](const char* name) const;
    Field operator[](std::size_t index) const;
    std::size_t size() const;  // of an array
    // The same as (*this)[name] for whoever has found the member's value already: to look for each name of
    // an object anew would take the square of their number.
    Field member(const std::string& name, const ordered_json& value) const;

    bool is_string() const { return value_ && value_->is_string(); }
    bool is_array() const { return value_ && value_->is_array(); }
    bool is_object() const { return value_ && value_->is_object(); }
    bool is_boolean() const { return value_ && value_->is_boolean(); }
    bool is_number() const { return value_ && value_->is_number(); }

    // The value. Throw ApiError 400 naming the field if it is absent, of another type or out of range.
    const ordered_json& json() const;
    const ordered_json& object() const;
    const std::string& string() const;
    bool boolean() const;
    std::int64_t integer(std::int64_t low, std::int64_t high) const;  // 3.0 is 3
    double number(double low, double high) const;
    std::vector<std::string> string_or_array() const;

    // The same, or the fallback if the field is absent.
    std::string string_or(std::string_view fallback) const;
    bool boolean_or(bool fallback) const;
    std::int64_t integer_or(std::int64_t fallback, std::int64_t low, std::int64_t high) const;
    double number_or(double fallback, double low, double high) const;

    // Throw ApiError 400: "{path}: expected {what}, found a string"; "{path}: {what}".
    [[noreturn]] void wrong(std::string_view expected) const;
    [[noreturn]] void refuse(std::string_view problem) const;

  private:
    Field(const ordered_json* value, std::string path) : value_(value), path_(std::move(path)) {}

    const ordered_json* value_;
    std::string path_;
};

}  // namespace cachalot::server
