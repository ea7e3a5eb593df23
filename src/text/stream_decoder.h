// Turns the bytes of generated tokens into text that can be shown at once.
//
// A token may end in the middle of a character (an emoji is often two or three tokens). Such a tail is held
// back until later bytes complete it or prove it invalid. Whatever the split, the concatenation of all
// results equals repair_utf8() of the concatenated bytes.
#pragma once

#include <string>
#include <string_view>

namespace cachalot {

class StreamDecoder {
  public:
    // The text that `bytes` completes: valid UTF-8, never part of a character.
    std::string push(std::string_view bytes);

    // The end: what was held back becomes U+FFFD. The decoder can then be used again.
    std::string flush();

  private:
    std::string pending_;  // at most three bytes, the start of a character
};

}  // namespace cachalot
