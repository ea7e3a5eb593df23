#include "grammar/char_set.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace cachalot::grammar {
namespace {

constexpr char32_t kLast = 0x10FFFF;
constexpr char32_t kBelow = 0xD7FF, kAbove = 0xE000;  // surrogates lie between them

// By utf8proc_category_t.
constexpr std::array<std::string_view, 30> kCategories = {
    "Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
    "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};

constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kLongNames = {{
    {"Letter", "L"},
    {"Uppercase_Letter", "Lu"},
    {"Lowercase_Letter", "Ll"},
    {"Mark", "M"},
    {"Number", "N"},
    {"Decimal_Number", "Nd"},
    {"Punctuation", "P"},
    {"punct", "P"},
    {"Symbol", "S"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Other", "C"},
}};

const std::array<CharSet, 30>& categories() {
    static const std::array<CharSet, 30> kSets = [] {
        std::array<CharSet, 30> sets;
        char32_t begin = 0;
        auto category = utf8proc_category(0);
        for (char32_t c = 1; c <= kLast + 1; ++c) {
            const auto next =
                c > kLast ? UTF8PROC_CATEGORY_CN : utf8proc_category(static_cast<utf8proc_int32_t>(c));
            if (c <= kLast && next == category) continue;
            sets[static_cast<std::size_t>(category)].add(begin, c - 1);
            begin = c;
            category = next;
        }
        return sets;
    }();
    return kSets;
}

}  // namespace

CharSet::CharSet(std::initializer_list<CharRange> ranges) {
    for (const CharRange& range : ranges) add(range.low, range.high);
}

CharSet CharSet::all() { return {{0, kLast}}; }

void CharSet::add(char32_t low, char32_t high) {
    ranges_.push_back({low, std::min(high, kLast)});
    sorted_ = false;
}

void CharSet::add(const CharSet& other) {
    const auto more = other.ranges();  // by value: it may be this set
    ranges_.insert(ranges_.end(), more.begin(), more.end());
    sorted_ = false;
}

const std::vector<CharRange>& CharSet::ranges() const {
    if (sorted_) return ranges_;
    std::vector<CharRange> parts;
    for (const CharRange& range : ranges_) {
        if (range.low > range.high) continue;
        if (range.low <= kBelow) parts.push_back({range.low, std::min(range.high, kBelow)});
        if (range.high >= kAbove) parts.push_back({std::max(range.low, kAbove), range.high});
    }
    std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.low < b.low; });
    ranges_.clear();
    for (const CharRange& part : parts) {
        // Across the surrogates ranges stay apart, so that each is one of characters.
        if (!ranges_.empty() && part.low <= ranges_.back().high + 1)
            ranges_.back().high = std::max(ranges_.back().high, part.high);
        else
            ranges_.push_back(part);
    }
    sorted_ = true;
    return ranges_;
}

CharSet CharSet::inverted() const {
    CharSet result;
    char32_t next = 0;
    for (const CharRange& range : ranges()) {
        if (range.low > next) result.add(next, range.low - 1);
        next = range.high + 1;
    }
    if (next <= kLast) result.add(next, kLast);
    return result;
}

CharSet CharSet::both(const CharSet& other) const {
    CharSet result;
    const auto &a = ranges(), &b = other.ranges();
    for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
        const char32_t low = std::max(a[i].low, b[j].low), high = std::min(a[i].high, b[j].high);
        if (low <= high) result.add(low, high);
        if (a[i].high < b[j].high)
            ++i;
        else
            ++j;
    }
    return result;
}

CharSet CharSet::any_case() const {
    CharSet result = *this;
    const CharSet small = both({{'a', 'z'}}), large = both({{'A', 'Z'}});
    for (const CharRange& range : small.ranges()) result.add(range.low - 32, range.high - 32);
    for (const CharRange& range : large.ranges()) result.add(range.low + 32, range.high + 32);
    return result;
}

bool CharSet::has(char32_t c) const {
    const auto& all = ranges();
    const auto after = std::upper_bound(all.begin(), all.end(), c,
                                        [](char32_t value, const CharRange& r) { return value < r.low; });
    return after != all.begin() && c <= std::prev(after)->high;
}

std::optional<CharSet> unicode_category(std::string_view name) {
    for (const auto& [full, brief] : kLongNames)
        if (name == full) name = brief;
    CharSet found;
    bool known = false;
    for (std::size_t i = 0; i < kCategories.size(); ++i) {
        if (name != kCategories[i] && !(name.size() == 1 && name[0] == kCategories[i][0])) continue;
        found.add(categories()[i]);
        known = true;
    }
    if (!known) return std::nullopt;
    return found;
}

}  // namespace cachalot::grammar
