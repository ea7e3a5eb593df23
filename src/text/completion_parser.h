// What the model wrote, taken apart while it is being written: reasoning, content, tool calls.
//
//     [reasoning </think>] content ["\n\n<｜DSML｜tool_calls>" invokes "</｜DSML｜tool_calls>"] EOS
//
// V4.1 writes "<｜DSML｜ calls>"; either is read, and only the other one is a deviation.
//
// The text may arrive in chunks of any size; the events' concatenation and the final result do not depend on
// where it was cut. Text is passed on as soon as it cannot be the beginning of a tag: at most two line breaks
// (they belong to a block that may follow), the white space at the very start of reasoning or content (up to
// eight bytes), and what so far reads like a tag are held back. If chunks are whole UTF-8 characters, so are
// the pieces.
//
// Models bend the grammar. This file recognises the pieces of a block, whatever is wrong around them; what
// the pieces of a call amount to is decided by text/call_reader.h, which knows the tools. Each deviation is
// reported as a Repair. The rules:
//
// - Spelling of tags does not matter (text/dsml_tag.h, text/mark_reader.h). Inside a block they are read
//   without the sentinel, too.
// - In content an invoke begins a call, with a block around it or not. All other tags are dropped wherever
//   they stand, and so are think tags and special tokens: none of them is ever text. Text between calls is
//   content; JSON there may be calls.
// - An invoke that closes itself, `/>`, does not if a parameter or its end is the next tag.
// - Without the sentinel a block begins at the start of a line, if the call of a tool that is offered
//   follows.
// - In reasoning a tag begins nothing (thinking about the format is not using it) and is left out, unless it
//   is a block's beginning at the start of a line or after a sentence, and an invoke or the block's end (or
//   the end of the text) follows: that ends reasoning whose `</think>` is missing.
// - A parameter's value ends at `</｜DSML｜parameter>`. If that is missing it ends at another tag of the block
//   at the start of a line, or at the invoke's end if the block goes on or ends right after it. Whatever else
//   it holds is text.
// - `<think>` at the start begins reasoning; anywhere else a think tag is dropped. What stands before a late
//   `</think>` has been sent as content and stays that.
// - If the text ends inside a call, the call's JSON is closed where it is and the call marked incomplete.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/call_reader.h"
#include "text/chat_format.h"
#include "text/completion.h"
#include "text/content_filter.h"
#include "text/mark_reader.h"
#include "text/tool_schema.h"

namespace cachalot {

// What the content of an answer is.
enum class ContentKind {
    free,
    // Something of a form: passed on as it is, whatever it reads like. Only at its very beginning, and only
    // if calls may be made, is a block of calls taken for one.
    formed,
};

class CompletionParser {
  public:
    // `in_reasoning`: whether the prompt ended in `<think>` (Continuation::reasoning). `tools`: those of the
    // conversation; null if they are not known: then every call counts, with what it says.
    explicit CompletionParser(bool in_reasoning, std::shared_ptr<const ToolSchemas> tools = nullptr,
                              ChatFormat format = ChatFormat::v4, ContentKind content = ContentKind::free);
    CompletionParser(const CompletionParser&) = delete;
    CompletionParser& operator=(const CompletionParser&) = delete;

    // The events that the next stretch of text completes.
    std::vector<CompletionEvent> feed(std::string_view text);

    // The text is over; `cut`: by a limit. The parser cannot be fed again.
    std::vector<CompletionEvent> finish(bool cut = false);

    // What all events so far add up to.
    const Completion& completion() const { return completion_; }

  private:
    enum class State { reasoning, content, block_json, call, value };
    std::vector<CompletionEvent> advance();
    bool step();
    bool step_head();
    bool step_text();
    bool step_form();
    bool step_block_json();
    bool step_call();
    bool step_value();

    MarkReader marks() const {
        return {buffer_, ended_, state_ == State::call || (in_block_ && state_ != State::value)};
    }
    MarkReader::Answer begins_block(const Mark& item, std::size_t at) const;
    bool counts(const DsmlTag& tag) const;
    MarkReader::Answer stands_alone(const Mark& item, std::size_t end) const;
    MarkReader::Answer goes_on_without_end(std::size_t at);
    MarkReader::Answer ends_value(const Mark& item, std::size_t end, bool line_start);
    std::size_t before_newlines(std::size_t at, std::size_t limit) const;

    void pass_text(std::size_t end);
    void pass_content(std::string_view text);
    void emit_content(std::string_view text);
    void pass_reasoning(std::string_view text);
    void emit_reasoning(std::string_view text);
    void leave_reasoning();
    void pass_value(std::size_t end);
    void drop(std::size_t end, Repair repair);
    void check_spelling(const Mark& item, std::size_t at);
    void begin(State state, bool after_tag);
    void tag_in_content(const Mark& item);
    void tag_in_call(const Mark& item);
    void open_call(const DsmlTag& tag);
    void close_call(bool cut = false);
    void close_block();
    void open_parameter(const std::string& name, const Mark& item);
    void close_parameter();
    void read_block_json();
    void take_call_events();
    void emit(CompletionEvent::Kind kind, std::string_view text, std::size_t call = 0);

    Completion completion_;
    std::vector<CompletionEvent> events_;

    std::string buffer_;  // text not yet dealt with, from at_ on
    std::size_t at_ = 0;
    bool ended_ = false;

    State state_;
    ContentKind kind_;
    bool form_begun_ = false;  // formed: some of the content has been passed on
    bool head_ = true;         // reasoning, content: nothing but white space so far
    bool after_tag_ = false;   // head_: white space is dropped
    bool paragraph_ = false;   // content that follows is apart from what there is
    char last_ = '\n';         // reasoning, content: the last character that was passed on

    ContentFilter filter_;            // what content goes through
    ContentFilter reasoning_filter_;  // what reasoning goes through
    bool reasoning_parted_ = false;   // reasoning that follows is apart from what there is

    bool in_block_ = false;           // inside <tool_calls>
    std::size_t calls_in_block_ = 0;  // that were begun
    std::string json_;                // block_json: so far
    std::string parameter_;           // value: whose
    bool plain_parameter_ = false;    // value: begun without the sentinel
    bool value_empty_ = true;         // value: nothing so far
    std::size_t scanned_ = 0;         // value: bytes after a doubtful tag that do not settle it
    const std::shared_ptr<const ToolSchemas> tools_;
    const ChatFormat format_;
    CallReader call_;
};

// The whole of a text at once.
Completion parse_completion(std::string_view text, bool in_reasoning,
                            std::shared_ptr<const ToolSchemas> tools = nullptr,
                            ChatFormat format = ChatFormat::v4);

}  // namespace cachalot
