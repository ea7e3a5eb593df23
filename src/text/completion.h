// What a model's answer amounts to, whole and piece by piece.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

struct CompletionEvent {
    enum class Kind {
        reasoning,       // text: more of the reasoning
        content,         // text: more of the content
        call_start,      // text: the tool's name
        call_arguments,  // text: more of the arguments' JSON
        call_end,
    };
    Kind kind;
    std::string text;
    std::size_t call = 0;  // call_*: counted from 0
};

enum class Repair {
    think_end_missing,         // a block or the end of the text ended the reasoning
    stray_think_tag,           // dropped
    special_token,             // dropped
    calls_start_missing,       // an invoke without a block around it
    calls_end_missing,         // of a block whose calls are complete
    invoke_end_missing,        // before the next invoke or the block's end
    parameter_end_missing,     // before another tag of the block
    string_attribute_missing,  // the value was taken as JSON if it is JSON
    invalid_json_value,        // the value was made a string
    value_of_other_type,       // made what the tool's schema asks for
    duplicate_parameter,       // dropped
    arguments_in_body,         // read from the text between an invoke's tags
    arguments_wrapped,         // in one parameter that the tool does not have
    name_misspelt,             // of a tool or a parameter
    tag_of_other_format,       // V4.1: spelt as V4 does, or otherwise
    call_as_text,              // a tool that is not offered, or no usable arguments: passed on as content
    text_in_block,             // between calls: passed on as content; within a call with arguments: dropped
    stray_tag,                 // dropped
    empty_block,               // dropped
    text_after_calls,          // passed on as content
    truncated,                 // the text ends inside a tag or a call
};

std::string_view to_string(Repair repair);

struct ParsedToolCall {
    std::string name;
    std::string arguments;  // JSON text of an object
    bool complete = true;   // false if the text ended before the call did: better not run
};

struct Completion {
    std::string reasoning;
    std::string content;
    std::vector<ParsedToolCall> tool_calls;
    std::set<Repair> repairs;

    bool well_formed() const { return repairs.empty(); }
};

}  // namespace cachalot
