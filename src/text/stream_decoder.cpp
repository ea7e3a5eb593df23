#include "text/stream_decoder.h"

#include <utility>

#include "text/utf8.h"

namespace cachalot {

std::string StreamDecoder::push(std::string_view bytes) {
    pending_.append(bytes);
    // The held tail begins with a first byte, which never continues another character, so cutting there does
    // not change how the rest is repaired.
    const std::size_t complete = pending_.size() - incomplete_utf8_suffix(pending_);
    std::string text = repair_utf8(std::string_view(pending_).substr(0, complete));
    pending_.erase(0, complete);
    return text;
}

std::string StreamDecoder::flush() { return repair_utf8(std::exchange(pending_, {})); }

}  // namespace cachalot
