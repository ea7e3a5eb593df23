// "Did you mean ...?"
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cachalot::cli {

// Single letters to insert, remove, replace or swap with the next one that turn one word into the other.
int edit_distance(std::string_view a, std::string_view b);

// The one of `known` that was most likely meant by `word`, which is none of them: at most a third of its
// letters differ, or it begins with the word. Dashes in front do not count. Empty if none is near.
std::string suggestion(std::string_view word, const std::vector<std::string>& known);

}  // namespace cachalot::cli
