// Typed access to the keys of a configuration in JSON. A key that is null counts as absent, as in the tools
// that write these files.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cachalot {

// Of one object. Errors name the source and the key with its path.
class JsonFields {
  public:
    JsonFields(const nlohmann::json& object, std::string_view source, std::string prefix = "")
        : object_(object), source_(source), prefix_(std::move(prefix)) {}

    const nlohmann::json* find(std::string_view key) const {
        const auto found = object_.find(key);
        return found == object_.end() || found->is_null() ? nullptr : &*found;
    }
    const nlohmann::json& get(std::string_view key) const {
        const nlohmann::json* value = find(key);
        if (!value) fail("{}: '{}{}' is missing", source_, prefix_, key);
        return *value;
    }

    template <class T>
    T integer(std::string_view key, T low, T high) const {
        return to_integer<T>(key, get(key), low, high);
    }
    template <class T>
    T integer_or(std::string_view key, T fallback) const {
        const nlohmann::json* value = find(key);
        return value ? to_integer<T>(key, *value, 0, std::numeric_limits<T>::max()) : fallback;
    }
    // The bounds that matter are those of validate(); this one keeps the value out of trouble until then.
    int size(std::string_view key) const { return integer<int>(key, 0, std::numeric_limits<int>::max()); }

    float number(std::string_view key) const { return to_number(key, get(key)); }
    float number_or(std::string_view key, float fallback) const {
        const nlohmann::json* value = find(key);
        return value ? to_number(key, *value) : fallback;
    }

    // Numbers of layers; which ones can be is for v41_layers() to say.
    std::vector<int> integers(std::string_view key) const {
        const nlohmann::json& list = get(key);
        if (!list.is_array()) refuse(key, list, "an array");
        std::vector<int> values;
        for (const auto& value : list)
            values.push_back(to_integer<int>(key, value, 0, std::numeric_limits<int>::max()));
        return values;
    }

    std::string text(std::string_view key) const {
        const nlohmann::json& value = get(key);
        if (!value.is_string()) refuse(key, value, "a string");
        return value.get<std::string>();
    }

    // The object under `key`; null if absent.
    const nlohmann::json* object(std::string_view key) const {
        const nlohmann::json* value = find(key);
        if (value && !value->is_object()) refuse(key, *value, "an object");
        return value;
    }

    void only(std::string_view key, const nlohmann::json& supported) const {
        const nlohmann::json* value = find(key);
        if (value && *value != supported) refuse(key, *value, supported.dump());
    }

    template <class T>
    T to_integer(std::string_view key, const nlohmann::json& value, T low, T high) const {
        if (value.is_number_unsigned()) {
            const auto number = value.get<std::uint64_t>();
            if (std::cmp_greater_equal(number, low) && std::cmp_less_equal(number, high))
                return static_cast<T>(number);
        }
        refuse(key, value, fmt::format("an integer from {} to {}", low, high));
    }

    [[noreturn]] void refuse(std::string_view key, const nlohmann::json& value,
                             std::string_view expected) const {
        const auto text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        fail("{}: '{}{}' is {}, expected {}", source_, prefix_, key, text.substr(0, 60), expected);
    }

  private:
    float to_number(std::string_view key, const nlohmann::json& value) const {
        if (value.is_number()) {
            const double number = value.get<double>();
            if (std::abs(number) <= std::numeric_limits<float>::max()) return static_cast<float>(number);
        }
        refuse(key, value, "a number");
    }

    const nlohmann::json& object_;
    std::string_view source_;
    std::string prefix_;
};

}  // namespace cachalot
