// The last step before text becomes an answer's content or reasoning: no think tag, special token or tag with
// the sentinel passes.
//
// The parser has dropped those that stood in the model's text. But what was left on both sides of one may be
// another one together, `</thi<think>nk>`, and a call that is given back as text holds what its values held.
// So each is taken out as soon as its last character is there, and what stands before it goes on as if it had
// never been: what is left never contains any, however they were put into each other.
//
// Text is held back while it may be the beginning of one, and so is the text before it of which the same was
// true. The result does not depend on the pieces in which the text comes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

class ContentFilter {
  public:
    // What may be passed on now.
    std::string feed(std::string_view text);

    // What is held back, since the text is over or something else follows that parts it.
    std::string flush();

    // Whether nothing is held back.
    bool empty() const { return held_.empty(); }

    // Whether anything was taken out since it was last asked.
    bool take_dropped();

  private:
    void pass(std::string_view text);
    void settle();
    void fail();

    std::string out_, held_;
    std::vector<std::size_t> opens_;  // in held_: where a mark may begin, each within the one before it
    bool dropped_ = false;
};

}  // namespace cachalot
