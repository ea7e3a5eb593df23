#include "server/api/anthropic_write.h"

#include <utility>

#include "server/api/anthropic_read.h"
#include "server/api/common.h"
#include "server/error_types.h"
#include "text/chat_json.h"
#include "text/utf8.h"

namespace cachalot::server {

using nlohmann::ordered_json;

namespace {

// Every event's data repeats the event's name as "type".
std::string wire(std::string_view type, ordered_json data) {
    ordered_json event = {{"type", type}};
    event.update(data);
    return sse_event(type, event);
}

// The input of a call, in the bytes that a stream has: read and written again large numbers would lose
// digits. Half of a surrogate pair is mended, as strict readers refuse it. Arguments that are no JSON object,
// which only a cut answer has, become an empty one: the client's types promise an object.
std::string tool_input(const std::string& arguments) {
    std::string text = repair_utf8(arguments);
    const auto begin = text.find_first_not_of(" \t\r\n");
    if (begin == text.npos || text[begin] != '{') return "{}";
    if (is_json(text)) return text;
    try {
        return dump(parse_json(text, "arguments"));
    } catch (const Error&) {
        return "{}";
    }
}

// `object`, which has members, with one more.
std::string with_member(const ordered_json& object, std::string_view name, std::string_view value) {
    std::string text = dump(object);
    text.pop_back();
    return fmt::format("{},\"{}\":{}}}", text, name, value);
}

// Agents recognise a full context by these two sentences, and compact the conversation.
std::string error_message(const ApiError& error) {
    if (error.code != "context_length_exceeded" || error.context == 0) return error.what();
    if (error.prompt_tokens >= error.context || error.max_tokens <= 0)
        return fmt::format("prompt is too long: {} tokens > {} maximum", error.prompt_tokens, error.context);
    return fmt::format("input length and `max_tokens` exceed context limit: {} + {} > {}",
                       error.prompt_tokens, error.max_tokens, error.context);
}

}  // namespace

AnthropicAnswer::AnthropicAnswer(std::string id, std::string model, bool stream, TokenScale scale)
    : id_(std::move(id)), model_(std::move(model)), stream_(stream), scale_(scale) {}

std::string AnthropicAnswer::start() {
    return fmt::format("event: message_start\ndata: {}\n\n",
                       with_member({{"type", "message_start"}}, "message", message("[]")));
}

std::string AnthropicAnswer::feed(const Event& event) {
    switch (event.kind) {
        case Event::Kind::reasoning: return extend(Block::thinking, event.text);
        case Event::Kind::content: return extend(Block::text, event.text);
        case Event::Kind::call_start: return open({Block::tool_use, {}, event.id, event.text});
        case Event::Kind::call_arguments: return extend(Block::tool_use, event.text);
        case Event::Kind::call_end: return close();
        case Event::Kind::finished:
            if (event.finish_reason == "length") {
                stop_reason_ = "max_tokens";
            } else if (event.finish_reason == "tool_calls") {
                stop_reason_ = "tool_use";
            } else if (!event.stop_text.empty()) {
                stop_reason_ = "stop_sequence";
                stop_sequence_ = event.stop_text;
            } else {
                stop_reason_ = "end_turn";
            }
            return close();
        case Event::Kind::done: usage_ = event.usage; return finish();
        case Event::Kind::started:
        case Event::Kind::progress:
        case Event::Kind::prompt_logprobs:
        case Event::Kind::failed: return {};
    }
    return {};
}

std::string AnthropicAnswer::keep_alive(const Event&) { return wire("ping", ordered_json::object()); }

std::string AnthropicAnswer::fail(const ApiError& error) { return sse_event("error", error_body(error)); }

ordered_json AnthropicAnswer::error_body(const ApiError& error) const {
    return anthropic_error(error, "req_" + id_);
}

std::string AnthropicAnswer::whole() const {
    std::string list;
    for (const Content& part : content_) {
        if (!list.empty()) list += ',';
        switch (part.block) {
            case Block::thinking:
                list += dump({{"type", "thinking"}, {"thinking", part.text}, {"signature", signature()}});
                break;
            case Block::text: list += dump({{"type", "text"}, {"text", part.text}}); break;
            case Block::tool_use:
                list += with_member({{"type", "tool_use"}, {"id", part.id}, {"name", part.name}}, "input",
                                    tool_input(part.text));
        }
    }
    return message("[" + list + "]");
}

// `content` is JSON text.
std::string AnthropicAnswer::message(const std::string& content) const {
    std::string text =
        with_member({{"id", "msg_" + id_}, {"type", "message"}, {"role", "assistant"}, {"model", model_}},
                    "content", content);
    text.back() = ',';
    return text + dump({{"stop_reason", stop_reason_}, {"stop_sequence", stop_sequence_}, {"usage", usage()}})
                      .substr(1);
}

std::string AnthropicAnswer::open(Content content) {
    std::string bytes = close();
    content_.push_back(std::move(content));
    open_ = true;
    if (!stream_) return {};
    const Content& last = content_.back();
    ordered_json block;
    switch (last.block) {
        case Block::thinking: block = {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}; break;
        case Block::text: block = {{"type", "text"}, {"text", ""}}; break;
        case Block::tool_use:
            block = {{"type", "tool_use"},
                     {"id", last.id},
                     {"name", last.name},
                     {"input", ordered_json::object()}};
    }
    return bytes +
           wire("content_block_start", {{"index", content_.size() - 1}, {"content_block", std::move(block)}});
}

std::string AnthropicAnswer::extend(Block block, const std::string& text) {
    if (text.empty()) return {};
    std::string bytes;
    if (!open_ || content_.back().block != block) {
        if (block == Block::tool_use) return {};  // arguments of no call
        bytes = open({block, {}, {}, {}});
    }
    content_.back().text += text;
    if (!stream_) return {};
    switch (block) {
        case Block::thinking: return bytes + delta({{"type", "thinking_delta"}, {"thinking", text}});
        case Block::text: return bytes + delta({{"type", "text_delta"}, {"text", text}});
        case Block::tool_use: return bytes + delta({{"type", "input_json_delta"}, {"partial_json", text}});
    }
    return bytes;
}

std::string AnthropicAnswer::close() {
    if (!std::exchange(open_, false) || !stream_) return {};
    std::string bytes;
    if (content_.back().block == Block::thinking)
        bytes = delta({{"type", "signature_delta"}, {"signature", signature()}});
    return bytes + wire("content_block_stop", {{"index", content_.size() - 1}});
}

std::string AnthropicAnswer::finish() {
    std::string bytes = close();
    if (stop_reason_.is_null()) stop_reason_ = "end_turn";
    if (!stream_) return {};
    bytes += wire(
        "message_delta",
        {{"delta", {{"stop_reason", stop_reason_}, {"stop_sequence", stop_sequence_}}}, {"usage", usage()}});
    return bytes + wire("message_stop", ordered_json::object());
}

std::string AnthropicAnswer::delta(ordered_json delta) const {
    return wire("content_block_delta", {{"index", content_.size() - 1}, {"delta", std::move(delta)}});
}

// Anthropic counts what came from the cache apart, not as part of the input.
ordered_json AnthropicAnswer::usage() const {
    return {{"input_tokens", scale_(usage_.prompt_tokens - usage_.cached_tokens)},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", scale_(usage_.cached_tokens)},
            {"output_tokens", scale_(usage_.completion_tokens)}};
}

// Clients want a signature and send it back; nothing here depends on it, so that a conversation begun with
// another model can go on with this one.
std::string AnthropicAnswer::signature() const { return "cachalot_" + id_; }

ordered_json anthropic_error(const ApiError& error, std::string_view request_id) {
    ordered_json json = {{"type", error_types(error.status).anthropic}, {"message", error_message(error)}};
    if (error.code == kThreadUnsupported)
        json["details"] = {{"error_code", error.code}, {"unsupported", ordered_json::array({error.param})}};
    return {{"type", "error"}, {"error", std::move(json)}, {"request_id", request_id}};
}

}  // namespace cachalot::server
