// What the model wrote, taken apart while it is being written: reasoning, content, tool calls.
//
//     [reasoning </think>] content ["\n\n<｜DSML｜tool_calls>" invokes "</｜DSML｜tool_calls>"] EOS
//
// The text may arrive in chunks of any size; the events' concatenation and the final result do not depend on
// where it was cut. Text is passed on as soon as it cannot be the beginning of a tag: at most two line breaks
// (they belong to a block that may follow), the white space at the very start of reasoning or content (up to
// eight bytes), and what so far reads like a tag are held back. If chunks are whole UTF-8 characters, so are
// the pieces.
//
// Models bend the grammar, so the parser takes a stand on each deviation and reports it as a Repair. The rules:
//
// - Spelling of tags does not matter (text/dsml_tag.h).
// - `<｜DSML｜tool_calls>` begins a block if an invoke or the block's end (or the end of the text) follows; without it an
//   invoke does if a parameter or its end follows. In reasoning only the former, at the start of a line: that ends
//   reasoning whose `</think>` is missing. Any other tag outside of a block is text if no call has been seen, as in an
//   answer about this very format; after a call it is a leftover and dropped.
// - Inside a block everything between the tags is dropped. White space after it is dropped too, text is content.
// - A parameter's value ends at `</｜DSML｜parameter>`. If that is missing it ends at another tag of the block at the
//   start of a line, or at the invoke's end if the block goes on or ends right after it.
// - A value that is not said to be a string and is no JSON becomes a string (Python's True, False and None are read).
// - Of parameters with equal names the first counts. Its text has been sent when the second one is seen, and an object
//   with a key twice is read differently by different clients.
// - If the text ends inside a call, the call's JSON is closed where it is and the call marked incomplete.
// - `<think>` at the start and `</think>` repeated are dropped, EOS at the end too; elsewhere all three are text.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/dsml_tag.h"

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
    calls_start_missing,       // an invoke without a block around it
    calls_end_missing,         // of a block whose calls are complete
    invoke_end_missing,        // before the next invoke or the block's end
    parameter_end_missing,     // before another tag of the block
    string_attribute_missing,  // the value was taken as JSON if it is JSON
    invalid_json_value,        // the value was made a string
    duplicate_parameter,       // dropped
    text_in_block,             // dropped
    stray_tag,                 // dropped
    tag_as_text,               // passed on
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

class CompletionParser {
  public:
    // `in_reasoning`: whether the prompt ended in `<think>` (Continuation::reasoning).
    explicit CompletionParser(bool in_reasoning);

    // The events that the next stretch of text completes.
    std::vector<CompletionEvent> feed(std::string_view text);

    // The text is over. The parser cannot be fed again.
    std::vector<CompletionEvent> finish();

    // What all events so far add up to.
    const Completion& completion() const { return completion_; }

  private:
    enum class State { reasoning, content, block, invoke, string_value, json_value };
    enum class Answer { no, yes, more };  // `more`: needs more text to tell

    // What stands at a `<`.
    struct Item {
        enum class Kind { text, more, think_start, think_end, eos, tag, cut_tag };
        Kind kind = Kind::text;
        std::size_t length = 0;
        DsmlTag tag;
    };

    std::vector<CompletionEvent> advance();
    bool step();
    bool step_head();
    bool step_text();
    bool step_tags();
    bool step_value();

    Item look(std::size_t at) const;
    Answer followed_by(std::size_t at, std::initializer_list<DsmlKind> kinds) const;
    Answer starts_block(const DsmlTag& tag, std::size_t end, bool line_start) const;
    Answer ends_value(const DsmlTag& tag, std::size_t end, bool line_start) const;
    std::size_t before_newlines(std::size_t at, std::size_t limit) const;

    void pass_text(std::size_t end);
    void pass_value(std::size_t end);
    void drop(std::size_t end, Repair repair);
    void start_reasoning_or_content(State state);
    void open_block(bool wrapped);
    void close_block();
    void handle_tag(const DsmlTag& tag);
    void open_call(const std::string& name);
    void close_call();
    void open_parameter(const DsmlTag& tag);
    void close_parameter();
    void emit_arguments(std::string_view json);
    void emit(CompletionEvent::Kind kind, std::string_view text, std::size_t call = 0);

    Completion completion_;
    std::vector<CompletionEvent> events_;

    std::string buffer_;  // text not yet dealt with, from at_ on
    std::size_t at_ = 0;
    bool ended_ = false;

    State state_;
    bool head_ = true;          // reasoning, content: nothing but white space so far
    bool after_block_ = false;  // head_: white space is dropped

    bool wrapped_ = false;              // block, invoke: inside <tool_calls>
    std::size_t calls_in_block_ = 0;    // block, invoke
    std::set<std::string> parameters_;  // invoke: names seen
    bool value_empty_ = true;           // value: nothing so far
    bool discard_value_ = false;        // value: of a duplicate
    bool attribute_missing_ = false;    // json_value: `string` was not given
    std::string json_value_;            // json_value: so far
};

// The whole of a text at once.
Completion parse_completion(std::string_view text, bool in_reasoning);

}  // namespace cachalot
