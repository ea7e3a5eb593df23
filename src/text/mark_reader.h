// What stands at a place of an answer's text: a tag of tool calls, a think tag, a special token, or text.
//
// The text may still be growing. What is found depends on nothing but the text that it is about: `more` means
// that the text ends before that is settled.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string_view>

#include "text/dsml_tag.h"

namespace cachalot {

struct Mark {
    enum class Kind {
        text,
        more,
        think_start,
        think_end,
        special,  // `<｜name｜>`
        tag,
        cut_tag,  // the text is over and ends within a tag or special token
    };
    Kind kind = Kind::text;
    std::size_t length = 0;
    DsmlTag tag;
    bool plain = false;  // tag: without the sentinel
};

// What begins the text among think tags, special tokens and tags with the sentinel. `ended`: nothing follows.
Mark control_mark(std::string_view text, bool ended);

class MarkReader {
  public:
    enum class Answer { no, yes, more };

    // `ended`: nothing follows the text. `among_tags`: it is no prose, so that at its end a "<" is enough of
    // a tag.
    MarkReader(std::string_view text, bool ended, bool among_tags)
        : text_(text), ended_(ended), among_tags_(among_tags) {}

    // Where a mark may begin, from `from` on; the text's length if nowhere.
    std::size_t find(std::size_t from) const;

    // What stands at `at`, where one may.
    Mark look(std::size_t at) const;

    // What follows the white space at `at`; `special` at the end of the text, where the beginning of a tag
    // will do.
    Mark next(std::size_t at) const;

    // Whether one of these tags, or the end of the text, follows the white space at `at`.
    Answer followed_by(std::size_t at, std::initializer_list<DsmlKind> kinds) const;

  private:
    std::string_view text_;
    bool ended_, among_tags_;
};

}  // namespace cachalot
