// The completion parser on any bytes: where the text is cut must not matter, the events must add up to the
// result, the arguments of valid UTF-8 must be JSON objects, and no sentinel may get into the content.
//
// Input: one byte for the mode and the seed of the cuts, then the text. Calls are of any tool, of two tools
// that are known by their schemas, or forbidden.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "text/chat_json.h"
#include "text/completion_parser.h"

namespace {

using namespace cachalot;

void require(bool condition) {
    if (!condition) std::abort();
}

void add(Completion& sum, const std::vector<CompletionEvent>& events) {
    for (const CompletionEvent& event : events) {
        switch (event.kind) {
            case CompletionEvent::Kind::reasoning: sum.reasoning += event.text; break;
            case CompletionEvent::Kind::content: sum.content += event.text; break;
            case CompletionEvent::Kind::call_start:
                require(event.call == sum.tool_calls.size());
                sum.tool_calls.push_back({event.text, {}, true});
                break;
            case CompletionEvent::Kind::call_arguments:
                sum.tool_calls.at(event.call).arguments += event.text;
                break;
            case CompletionEvent::Kind::call_end: require(event.call + 1 == sum.tool_calls.size());
        }
    }
}

void require_equal(const Completion& a, const Completion& b) {
    require(a.reasoning == b.reasoning && a.content == b.content);
    require(a.tool_calls.size() == b.tool_calls.size());
    for (std::size_t i = 0; i < a.tool_calls.size(); i++)
        require(a.tool_calls[i].name == b.tool_calls[i].name &&
                a.tool_calls[i].arguments == b.tool_calls[i].arguments);
}

std::shared_ptr<const ToolSchemas> tools(bool callable) {
    Conversation conversation;
    conversation.tools = nlohmann::ordered_json::parse(R"([
        {"name": "f", "parameters": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"},
            "b": {"type": "integer"}, "c": {"type": "array", "items": {"type": "object", "properties":
            {"d": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}}}}}}},
        {"name": "g", "parameters": {"type": "object", "properties": {"n": {"type": "number"}}}}])");
    return std::make_shared<const ToolSchemas>(conversation, callable);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const bool in_reasoning = data[0] & 1;
    std::uint32_t random = data[0];
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);

    static const std::shared_ptr<const ToolSchemas> kTools[] = {nullptr, tools(true), tools(true),
                                                                tools(false)};
    const auto& offered = kTools[(data[0] >> 1) & 3];
    const ChatFormat format = data[0] & 8 ? ChatFormat::v41 : ChatFormat::v4;
    CompletionParser parser(in_reasoning, offered, format);
    Completion sum;
    for (std::size_t at = 0; at < text.size();) {
        random = random * 1664525 + 1013904223;
        const std::string_view chunk = text.substr(at, 1 + (random >> 24) % 16);
        add(sum, parser.feed(chunk));
        at += chunk.size();
    }
    add(sum, parser.finish());
    require_equal(sum, parser.completion());

    const Completion whole = parse_completion(text, in_reasoning, offered, format);
    require_equal(whole, parser.completion());
    require(whole.repairs == parser.completion().repairs);

    require(whole.content.find("｜DSML｜") == std::string::npos);
    const bool utf8 = is_json(json_string(text));  // a JSON string is one if it is UTF-8
    for (const ParsedToolCall& call : whole.tool_calls)
        require(!call.name.empty() && (!utf8 || parse_tool_arguments(call.arguments)));
    return 0;
}
