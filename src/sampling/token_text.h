// The text that an answer's tokens make, token by token, so that tokens can be taken back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cachalot {

class TokenText {
  public:
    // `before` is the end of the text that the tokens follow.
    explicit TokenText(std::string_view before = {}) : text_(before) {}

    void append(std::string_view bytes) {
        begins_.push_back(text_.size());
        text_ += bytes;
    }

    void take_back(std::size_t tokens) {
        CACHALOT_CHECK(tokens <= begins_.size());
        if (tokens == 0) return;
        text_.resize(begins_[begins_.size() - tokens]);
        begins_.resize(begins_.size() - tokens);
    }

    // The last bytes, or all if there are no more than that.
    std::string_view last(std::size_t bytes) const {
        return std::string_view(text_).substr(text_.size() - std::min(bytes, text_.size()));
    }

  private:
    std::string text_;
    std::vector<std::size_t> begins_;  // [tokens] where each begins in the text
};

}  // namespace cachalot
