// Recognises one DSML tag at the start of a text that may still be growing, however it is spelt.
//
// The tags as DeepSeek V4 writes them, and what models make of them:
//
//     <｜DSML｜tool_calls>
//     <｜DSML｜invoke name="NAME">
//     <｜DSML｜parameter name="KEY" string="true">
//     </｜DSML｜parameter>
//
//     the sentinel   |DSML| with ASCII bars, with two bars a side or with one missing, in small letters;
//                    without `<`; followed by spaces or by the slash
//     the word       `function_calls` (V3.2), `calls` (V4.1), `toolcalls`, `paramter`, ...
//     the rest       no `string`, other quotes or none, no `>`, `/>`
//
// So the word after the sentinel is compared with the known ones by distance, and a tag ends where nothing of
// a tag follows. A sentinel that no word follows is a tag of kind `other`: it is no text either.
//
// Inside a block models also leave out the sentinel. match_plain_tag reads such tags; they have to be spelt
// right, since they are ordinary text that may mean something else.
//
// The answer depends on nothing but the text up to the point where the tag is decided: once it is not
// `partial`, more text does not change it. A tag longer than kMaxDsmlTag is none, which bounds what a
// caller has to hold back.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cachalot {

inline constexpr std::size_t kMaxDsmlTag = 1024;  // bytes

enum class DsmlKind {
    calls_start,  // also an invoke without a name
    calls_end,
    invoke_start,  // also `tool_call` and the like with a name
    invoke_end,
    parameter_start,
    parameter_end,
    other_start,  // another word, or none
    other_end,
};

struct DsmlTag {
    DsmlKind kind = DsmlKind::calls_start;
    std::string name;               // of invoke_start never empty; of parameter_start, other_start it may be
    std::optional<bool> is_string;  // of parameter_start, if the attribute is there
    bool closed = false;            // `/>`
    std::string word;               // "invoke", as it is spelt
    std::vector<std::pair<std::string, std::string>> attributes;  // all others
};

struct DsmlMatch {
    enum class State {
        none,     // the text does not begin with a tag
        partial,  // it may: more text has to tell
        tag,
    };
    State state = State::none;
    bool sentinel = false;   // partial: "<｜" is complete, so this can hardly be anything but a tag
    std::size_t length = 0;  // tag: its bytes
    DsmlTag tag;
};

DsmlMatch match_dsml_tag(std::string_view text);

// `<tool_calls>`, `<invoke name="NAME">`, `</parameter>`, ... without the sentinel.
DsmlMatch match_plain_tag(std::string_view text);

}  // namespace cachalot
