#include "text/prompt_protocol.h"

#include <fmt/format.h>

namespace cachalot {

namespace {

// With the names of the tags of a block, an invoke and a parameter.
constexpr char kToolsStart[] = R"(## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<{0}>" block like the following:

<{0}>
<{1} name="$TOOL_NAME">
<{2} name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{2}>
...
</{1}>
<{1} name="$TOOL_NAME2">
...
</{1}>
</{0}>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

)";

// The tags' names in the formats of V4 and V4.1: there the space belongs to the name.
ChatProtocol make_protocol(std::string_view system, std::string_view calls, std::string_view invoke,
                           std::string_view parameter) {
    ChatProtocol protocol;
    protocol.system = system;
    protocol.calls_start = fmt::format("\n\n<{}>\n", calls);
    protocol.calls_end = fmt::format("</{}>", calls);
    protocol.invoke_start = fmt::format("<{} name=\"", invoke);
    protocol.invoke_end = fmt::format("</{}>", invoke);
    protocol.parameter_start = fmt::format("<{} name=\"", parameter);
    protocol.parameter_end = fmt::format("</{}>", parameter);
    protocol.tools_start = fmt::format(kToolsStart, calls, invoke, parameter);
    return protocol;
}

}  // namespace

bool ChatProtocol::spells(std::string_view tag) const {
    const auto block = std::string_view(calls_start).substr(2, calls_start.size() - 3);
    for (const std::string_view whole :
         {block, std::string_view(calls_end), std::string_view(invoke_end), std::string_view(parameter_end)})
        if (tag == whole) return true;
    return tag.starts_with(invoke_start) || tag.starts_with(parameter_start);
}

const ChatProtocol& protocol_of(ChatFormat format) {
    static const ChatProtocol kV4 =
        make_protocol("", "｜DSML｜tool_calls", "｜DSML｜invoke", "｜DSML｜parameter");
    static const ChatProtocol kV41 =
        make_protocol(kSystemToken, "｜DSML｜ calls", "｜DSML｜ invoke", "｜DSML｜ parameter");
    return format == ChatFormat::v41 ? kV41 : kV4;
}

}  // namespace cachalot
