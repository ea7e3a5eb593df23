// Letters of ASCII, whatever the locale.
#pragma once

#include <string>
#include <string_view>

namespace cachalot {

// With small letters in place of capitals; all other bytes stay as they are.
inline std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

}  // namespace cachalot
