// Recognises one DSML tag at the start of a text that may still be growing.
//
// The tags as DeepSeek V4 writes them, and what models make of them:
//
//     <｜DSML｜tool_calls>                          |DSML| with ASCII bars, or with two bars a side;
//     <｜DSML｜invoke name="NAME">                  a space before the tag's name (V4.1 writes it always);
//     <｜DSML｜parameter name="KEY" string="true">  `calls` (V4.1) or `function_calls` for `tool_calls`;
//     </｜DSML｜parameter>                          no `string`, other quotes or none, spaces before `>`
//
// The answer depends on nothing but the text up to the point where the tag is decided: once it is not
// `partial`, more text does not change it. A tag longer than kMaxDsmlTag is no tag, which bounds what a
// caller has to hold back.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace cachalot {

inline constexpr std::size_t kMaxDsmlTag = 1024;  // bytes

enum class DsmlKind { calls_start, calls_end, invoke_start, invoke_end, parameter_start, parameter_end };

struct DsmlTag {
    DsmlKind kind = DsmlKind::calls_start;
    std::string name;               // of invoke_start and parameter_start, never empty
    std::optional<bool> is_string;  // of parameter_start, if the attribute is there
};

struct DsmlMatch {
    enum class State {
        none,     // the text does not begin with a tag
        partial,  // it may: more text has to tell
        tag,
    };
    State state = State::none;
    bool sentinel = false;   // partial: "<｜DSML｜" is complete, so this can hardly be anything but a tag
    std::size_t length = 0;  // tag: its bytes
    DsmlTag tag;
};

DsmlMatch match_dsml_tag(std::string_view text);

}  // namespace cachalot
