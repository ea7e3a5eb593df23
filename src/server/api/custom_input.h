// The text that a custom tool is called with, out of the JSON arguments that the model wrote, as they come.
//
// The arguments are {"input": "text"}. While they look like that, the text is taken out piece by piece, so
// that a client sees a long patch grow. Where the model wrote something else (other members first, a value
// that is no string), nothing comes until the end, and then the best that can be made of it.
#pragma once

#include <string>
#include <string_view>

namespace cachalot::server {

class CustomInput {
  public:
    // More of the arguments; returns more of the text.
    std::string feed(std::string_view arguments);
    // The arguments are over; returns the rest of the text.
    std::string finish();
    // All of the text so far.
    const std::string& text() const { return text_; }

  private:
    enum class State { before, inside, after, other };
    std::string decode_more();

    std::string arguments_, text_;
    std::size_t at_ = 0;  // of arguments_, up to where the text has been taken out
    State state_ = State::before;
};

}  // namespace cachalot::server
