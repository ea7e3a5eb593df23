#include "cli/option_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "cli/suggestion.h"
#include "experts/expert_budget.h"

namespace cachalot::cli {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t(1) << 30;

enum class Kind { text, whole, tokens, real };

// Without what CLI11 appends for the checks ("N:INT in [0 - 5]") and the dots of a list.
std::string type_name(const CLI::Option& option) {
    std::string name = option.get_type_name();
    name = name.substr(0, name.find(':'));
    if (name.ends_with(",..")) name.resize(name.size() - 3);
    return name;
}

Kind kind_of(const CLI::Option& option) {
    constexpr std::array<std::string_view, 6> whole = {"N", "K", "MIB", "IDS", "INT", "UINT"};
    constexpr std::array<std::string_view, 6> real = {"X", "S", "MS", "PERCENT", "MINUTES", "FLOAT"};
    const std::string name = type_name(option);
    if (name == "TOKENS") return Kind::tokens;
    if (std::find(whole.begin(), whole.end(), name) != whole.end()) return Kind::whole;
    if (std::find(real.begin(), real.end(), name) != real.end()) return Kind::real;
    return Kind::text;
}

// In decimal, whatever zeros stand in front.
std::string whole_number(const std::string& text) {
    const char *begin = text.data(), *end = begin + text.size();
    if (text.starts_with('-')) {
        std::int64_t value = 0;
        const auto [last, error] = std::from_chars(begin, end, value);
        if (last != end || error == std::errc::invalid_argument) fail("'{}' is no whole number", text);
        if (error != std::errc()) fail("'{}' is too small", text);
        return std::to_string(value);
    }
    std::uint64_t value = 0;
    const auto [last, error] = std::from_chars(begin, end, value);
    if (last != end || error == std::errc::invalid_argument) fail("'{}' is no whole number", text);
    if (error != std::errc()) fail("'{}' is too large", text);
    return std::to_string(value);
}

// "4096" or "4k"
std::string token_count(const std::string& text) {
    std::int64_t factor = 1;
    if (text.ends_with('k') || text.ends_with('K')) factor = 1 << 10;
    if (text.ends_with('m') || text.ends_with('M')) factor = 1 << 20;
    const std::string digits = factor == 1 ? text : text.substr(0, text.size() - 1);
    std::int64_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto [last, error] = std::from_chars(digits.data(), end, value);
    if (last != end || error == std::errc::invalid_argument)
        fail("'{}' is no number of tokens, such as 4096 or 4k", text);
    if (error != std::errc() || value > kMostTokens / factor) fail("'{}' tokens are too many", text);
    if (value < -kMostTokens) fail("'{}' is too small", text);
    return std::to_string(value * factor);
}

std::string real_number(const std::string& text) {
    double value = 0;
    const char* end = text.data() + text.size();
    const auto [last, error] = std::from_chars(text.data(), end, value);
    if (last != end || error == std::errc::invalid_argument || std::isnan(value) || std::isinf(value))
        fail("'{}' is no number", text);
    if (error != std::errc() || std::abs(value) > std::numeric_limits<float>::max())
        fail("'{}' is too large or too small", text);
    return text;
}

std::string checked_item(Kind kind, const std::string& item) {
    switch (kind) {
        case Kind::whole: return whole_number(item);
        case Kind::tokens: return token_count(item);
        case Kind::real: return real_number(item);
        case Kind::text: break;
    }
    return item;
}

}  // namespace

std::string checked_value(const CLI::Option& option, const std::string& value) {
    if (value.empty()) fail("the value is empty");
    const Kind kind = kind_of(option);
    const char separator = option.get_delimiter();
    if (separator == '\0') return checked_item(kind, value);
    std::string checked;
    for (std::size_t begin = 0; begin <= value.size();) {
        const auto end = std::min(value.find(separator, begin), value.size());
        const auto item = value.substr(begin, end - begin);
        if (item.empty()) fail("'{}' has an empty item", value);
        if (begin > 0) checked += separator;
        checked += checked_item(kind, item);
        begin = end + 1;
    }
    return checked;
}

CLI::Validator checked_by(std::function<void(const std::string&)> check, const std::string& expected) {
    return CLI::Validator(
        [check = std::move(check)](std::string& text) {
            try {
                check(text);
                return std::string();
            } catch (const Error& e) {
                return std::string(e.what());
            }
        },
        expected);
}

CLI::Validator one_of(std::vector<std::string> words) {
    const auto shown = fmt::format("{{{}}}", fmt::join(words, ","));
    return checked_by(
        [words = std::move(words)](const std::string& text) {
            if (std::find(words.begin(), words.end(), text) != words.end()) return;
            const auto meant = suggestion(text, words);
            fail("'{}' is none of {}{}", text, fmt::join(words, ", "),
                 meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant));
        },
        shown);
}

CLI::Validator at_least(double least) {
    return checked_by([least](const std::string& text) {
        if (std::strtod(text.c_str(), nullptr) < least) fail("'{}' is less than {}", text, least);
    });
}

CLI::Validator more_than(double bound, double most) {
    return checked_by([bound, most](const std::string& text) {
        const double value = std::strtod(text.c_str(), nullptr);
        if (!(value > bound)) fail("'{}' is not more than {}", text, bound);
        if (value > most) fail("'{}' is more than {}", text, most);
    });
}

CLI::Validator as_bytes() {
    return CLI::Validator(
        [](std::string& text) {
            try {
                if (text != "0") text = fmt::format("{:.0f}", parse_bytes(text, ""));
                return std::string();
            } catch (const Error&) {
                return fmt::format("'{}' is no size, such as 8GB or 512MiB", text);
            }
        },
        "");
}

}  // namespace cachalot::cli
