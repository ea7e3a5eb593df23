// Text from a file, made fit for a message: in quotes, control characters visible, cut to a sane length.
#pragma once

#include <string>
#include <string_view>

#include "text/utf8.h"
#include "text/visible_text.h"

namespace cachalot {

inline std::string in_quotes(std::string_view text, std::size_t max_length = 120) {
    const bool cut = text.size() > max_length;
    text = text.substr(0, max_length);
    if (cut) text.remove_suffix(incomplete_utf8_suffix(text));
    return "'" + visible_line(text) + (cut ? "...'" : "'");
}

}  // namespace cachalot
