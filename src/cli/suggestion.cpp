#include "cli/suggestion.h"

#include <algorithm>

namespace cachalot::cli {

int edit_distance(std::string_view a, std::string_view b) {
    // Rows of the usual table: two before, one before, this one.
    std::vector<int> older(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::swap(older, last);
        std::swap(last, row);
        row[0] = static_cast<int>(i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], older[j - 2] + 1);
        }
    }
    return row[b.size()];
}

std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
    constexpr std::size_t kLongest = 64, kPrefix = 3;  // of words that may be misspelt; of a useful beginning
    auto bare = [](std::string_view text) {
        const auto begin = text.find_first_not_of('-');
        return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
    };
    const auto meant = bare(word);
    if (meant.empty() || meant.size() > kLongest) return {};
    std::string best;
    int least = static_cast<int>(std::max<std::size_t>(1, meant.size() / 3)) + 1;
    for (const auto& candidate : known) {
        int distance = edit_distance(meant, bare(candidate));
        if (meant.size() >= kPrefix && bare(candidate).starts_with(meant)) distance = std::min(distance, 1);
        if (distance >= least) continue;
        least = distance;
        best = candidate;
    }
    return best;
}

}  // namespace cachalot::cli
