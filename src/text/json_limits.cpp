#include "text/json_limits.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>

namespace cachalot {
namespace {

// The code unit of the escape \uXXXX at `at`, if there is one.
std::optional<unsigned> unicode_escape(std::string_view text, std::size_t at) {
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
    unsigned unit = 0;
    const char* end = text.data() + at + 6;
    const auto [stop, error] = std::from_chars(text.data() + at + 2, end, unit, 16);
    if (error != std::errc() || stop != end) return std::nullopt;
    return unit;
}

bool is_high_surrogate(unsigned unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool is_low_surrogate(unsigned unit) { return unit >= 0xDC00 && unit < 0xE000; }

}  // namespace

// In valid JSON a backslash occurs in strings only, so no more than escapes need be understood.
std::string_view without_lone_surrogates(std::string_view text, std::string& storage) {
    bool copied = false;
    for (std::size_t at = text.find('\\'); at != std::string_view::npos; at = text.find('\\', at)) {
        const std::optional<unsigned> unit = unicode_escape(text, at);
        if (!unit) {
            at += 2;
            continue;
        }
        if (is_high_surrogate(*unit)) {
            const std::optional<unsigned> next = unicode_escape(text, at + 6);
            if (next && is_low_surrogate(*next)) {
                at += 12;
                continue;
            }
        }
        if (is_high_surrogate(*unit) || is_low_surrogate(*unit)) {
            if (!copied) storage = text;
            copied = true;
            storage.replace(at, 6, "\\ufffd");  // as long as what it replaces
        }
        at += 6;
    }
    return copied ? std::string_view(storage) : text;
}

std::vector<std::size_t> last_of_equal(const std::vector<const std::string*>& keys) {
    std::vector<std::size_t> sorted(keys.size());
    std::iota(sorted.begin(), sorted.end(), std::size_t{0});
    std::sort(sorted.begin(), sorted.end(), [&](std::size_t a, std::size_t b) {
        const int order = keys[a]->compare(*keys[b]);
        return order != 0 ? order < 0 : a < b;
    });
    const auto equal = [&](std::size_t a, std::size_t b) { return *keys[a] == *keys[b]; };
    if (std::adjacent_find(sorted.begin(), sorted.end(), equal) == sorted.end()) return {};
    std::vector<std::size_t> last(keys.size(), kRepeated);
    for (std::size_t begin = 0, end = 0; begin < sorted.size(); begin = end) {
        while (end < sorted.size() && equal(sorted[begin], sorted[end])) ++end;
        last[sorted[begin]] = sorted[end - 1];
    }
    return last;
}

}  // namespace cachalot
