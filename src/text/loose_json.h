// JSON as models write it: nearly.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cachalot {

// `text` without white space and a code fence around it.
std::string_view without_fence(std::string_view text);

// The JSON text of the object or array that `text` was meant to be; nothing if it is none. A text that is
// JSON comes back as it is. Mended is what leaves no doubt: line breaks and tabs within strings, single
// quotes, names of members without quotes, Python's True, False and None, commas before a closing bracket,
// brackets and quotes that are missing at the very end, or brackets too many. If the last member has been cut
// before its value began, it is left out.
std::optional<std::string> mend_json(std::string_view text);

}  // namespace cachalot
