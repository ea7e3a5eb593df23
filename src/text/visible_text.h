// Text from models, files and requests, as people may be shown it on a terminal.
//
// A terminal obeys control characters: an escape sequence can change the window's title, write to the
// clipboard, or overwrite what was printed before. Marks that override the direction of writing make a text
// read otherwise than it is. Here such characters become visible instead: \u001b, which is also how JSON
// writes them, so that JSON stays the same JSON. A byte that belongs to no UTF-8 becomes \x9b.
#pragma once

#include <string>
#include <string_view>

namespace cachalot {

// Control characters (U+0000 to U+001F but line feed and tab, U+007F to U+009F), embeddings, overrides and
// isolates of direction (U+202A to U+202E, U+2066 to U+2069) and invalid bytes are shown; everything else
// stays as it is.
std::string visible_text(std::string_view text);

// The same, with line feeds and tabs shown, too: for a name inside a line.
std::string visible_line(std::string_view text);

}  // namespace cachalot
