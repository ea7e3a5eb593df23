// One tool call, from the pieces between its tags to the arguments that a client gets.
//
// The parser (completion_parser.h) says which stretches of the text are a parameter's value and which lie
// between the tags; this reads them with the tool's schema at hand and decides what the call amounts to:
//
// - It is a call once an argument is certain; from then on it is sent as it is written. Strings stream; a
//   value of another type, or one that the schema wants in another type, is sent when it is complete, in that
//   type if nothing is lost.
// - A parameter that the tool does not have may hold all of them (call_arguments.h), and so may the text
//   outside of parameters, the body. A body beside arguments is dropped.
// - Of parameters with equal names the first counts. Its text has been sent when the second one is seen, and
//   an object with a key twice is read differently by different clients.
// - A call of a tool that is not offered is none. Neither is one that would come out as `{}` though the tool
//   requires arguments or the body holds something that could not be read: running a tool without what it was
//   told to work on is the worst that can be done. What was written is then given back as text, without any
//   tags, for the user to see and the model to learn from.
//
// What has been sent is never taken back, and does not depend on the pieces in which the text came.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/completion.h"
#include "text/dsml_tag.h"
#include "text/tool_schema.h"

namespace cachalot {

class CallReader {
  public:
    // `tools`: those that are offered; null if that is not known: then every name is a tool, and it takes
    // anything. `repairs` is told what was mended. Both outlive the reader.
    CallReader(const ToolSchemas* tools, std::set<Repair>& repairs) : tools_(tools), repairs_(repairs) {}

    // Whether a call of that name would be one.
    bool offered(std::string_view name) const;
    // Whether the tool of the open call has a parameter of that name.
    bool has_parameter(std::string_view name) const { return tool_ && tool_->parameter(name); }

    void open(const DsmlTag& invoke);
    // `attribute`: the value that the tag itself has, which counts if none follows.
    void open_parameter(std::string_view name, std::optional<bool> is_string,
                        std::string_view attribute = {});
    void value(std::string_view text);
    void close_parameter();
    void body(std::string_view text) { body_ += text; }
    // A tag of which only the beginning could be read: the rest of it is in the body, which is no bare value.
    void broken_tag() { broken_tag_ = true; }
    // `cut`: a limit ended the text within the call, so that more might have followed: then a call without
    // arguments is none, whatever the tool takes. Returns the text of what is no call.
    std::optional<std::string> close(bool cut);

    // Whether the call has been begun for the client.
    bool announced() const { return announced_; }

    // call_start, call_arguments and call_end since it was last asked for, without the call's number.
    std::vector<CompletionEvent> take() { return std::exchange(events_, {}); }

  private:
    void send(CompletionEvent::Kind kind, std::string_view text);
    void begin_argument(const std::string& name);
    void begin_string();
    bool unwrap_value();
    void add(const ToolArgument& argument);
    bool add_body(bool beside_parameters);
    bool may_be_empty() const;
    std::string as_text() const;

    const ToolSchemas* tools_;
    std::set<Repair>& repairs_;
    std::vector<CompletionEvent> events_;

    // Of the open call.
    const ToolSchema* tool_ = nullptr;
    bool rejected_ = false;  // not offered
    bool broken_tag_ = false;
    bool announced_ = false;  // call_start has been sent
    std::string name_;
    std::string arguments_;  // of a rejected call; else they have been sent
    std::string body_;
    std::set<std::string> names_;  // of the arguments so far

    // Of the open parameter.
    enum class Value { streamed, watched, held, dropped };  // watched: streamed once it is no wrapper
    Value mode_ = Value::dropped;
    std::string parameter_, held_, attribute_;
    std::optional<bool> is_string_;
};

}  // namespace cachalot
