#include "server/api/responses_write.h"

#include <array>
#include <utility>

#include "server/api/common.h"
#include "server/api/responses_read.h"

namespace cachalot::server {
namespace {

constexpr std::string_view kContextLength = "context_length_exceeded";
constexpr std::string_view kMessages = "messages";

// What is `messages` to the other dialects, and to what they share, is `input` here.
ApiError in_terms_of_responses(const ApiError& error) {
    if (error.code != kContextLength || error.context == 0) {
        if (error.param != kMessages) return error;
        std::string message = error.what();
        if (message.starts_with(kMessages)) message.replace(0, kMessages.size(), "input");
        ApiError renamed(error.status, error.code, message, "input");
        renamed.retry_after = error.retry_after;
        return renamed;
    }
    const std::string output = error.max_tokens > 0 ? fmt::format(" + {} of output", error.max_tokens) : "";
    const std::string tokens = error.uncounted ? fmt::format("more than {} tokens", error.context)
                                               : fmt::format("{} tokens", error.prompt_tokens);
    return {error.status, error.code,
            fmt::format("Your input exceeds the context window of this model: {}{} > {}.", tokens, output,
                        error.context),
            "input"};
}

}  // namespace

ResponsesAnswer::ResponsesAnswer(std::string token, std::int64_t created, ResponsesAnswerOptions options)
    : token_(std::move(token)), created_(created), options_(std::move(options)) {}

std::string ResponsesAnswer::start() {
    emit("response.created", {{"response", response()}});
    emit("response.in_progress", {{"response", response()}});
    return std::exchange(bytes_, {});
}

std::string ResponsesAnswer::feed(const Event& event) {
    switch (event.kind) {
        case Event::Kind::reasoning: extend(Kind::reasoning, event); break;
        case Event::Kind::content: extend(Kind::message, event); break;
        case Event::Kind::call_start: open_call(event); break;
        case Event::Kind::call_arguments: extend_call(event); break;
        case Event::Kind::finished:
            if (event.finish_reason == "length") incomplete_ = {{"reason", "max_output_tokens"}};
            close(incomplete_.is_null() ? "completed" : "incomplete");
            break;
        case Event::Kind::done: finish(event.usage); break;
        case Event::Kind::call_end:  // an item ends where the next one begins (responses_write.h)
        case Event::Kind::started:
        case Event::Kind::progress:
        case Event::Kind::prompt_logprobs:
        case Event::Kind::failed: break;
    }
    return std::exchange(bytes_, {});
}

// A real event, because clients do not count comments as activity.
std::string ResponsesAnswer::keep_alive(const Event& progress) {
    emit("response.in_progress",
         {{"response", response()},
          {"prompt_progress", {{"processed", progress.progress_done}, {"total", progress.progress_total}}}});
    return std::exchange(bytes_, {});
}

// Some clients read the event "error", with its fields in either of the two places, others "response.failed".
// An open item stays open, lest a client run half a call.
std::string ResponsesAnswer::fail(const ApiError& error) {
    const ordered_json body = error_body(error)["error"];
    status_ = "failed";
    error_ = {{"code", body["code"]}, {"message", body["message"]}};
    emit("error",
         {{"code", body["code"]}, {"message", body["message"]}, {"param", body["param"]}, {"error", body}});
    emit("response.failed", {{"response", response()}});
    return std::exchange(bytes_, {});
}

ordered_json ResponsesAnswer::response() const {
    ordered_json output = ordered_json::array();
    for (std::size_t i = 0; i < items_.size(); ++i) output.push_back(item_json(i, true));
    ordered_json response = {{"id", "resp_" + token_},
                             {"object", "response"},
                             {"created_at", created_},
                             {"completed_at", completed_},
                             {"status", status_},
                             {"error", error_},
                             {"incomplete_details", incomplete_},
                             {"output", std::move(output)}};
    response.update(options_.repeated);
    response["usage"] = usage_;
    return response;
}

ordered_json ResponsesAnswer::error_body(const ApiError& error) const { return responses_error(error); }

// Codex looks for this one in the stream only; to any other it listens as an HTTP status.
bool ResponsesAnswer::fails_in_stream(const ApiError& error) const { return error.code == kContextLength; }

void ResponsesAnswer::emit(std::string_view type, ordered_json fields) {
    ordered_json event = {{"type", type}, {"sequence_number", sequence_++}};
    event.update(fields);
    bytes_ += sse_event(type, event);
}

// An event about the last item.
void ResponsesAnswer::emit_for_item(std::string_view type, ordered_json fields) {
    ordered_json event = {{"item_id", item_id(items_.size() - 1)}, {"output_index", items_.size() - 1}};
    event.update(fields);
    emit(type, std::move(event));
}

void ResponsesAnswer::open(Item item) {
    close("completed");
    items_.push_back(std::move(item));
    if (!options_.stream) return;
    const Item& last = items_.back();
    emit("response.output_item.added",
         {{"output_index", items_.size() - 1}, {"item", item_json(items_.size() - 1, false)}});
    if (last.kind == Kind::reasoning && options_.reasoning_summary)
        emit_for_item("response.reasoning_summary_part.added",
                      {{"summary_index", 0}, {"part", part(last, "")}});
    else if (last.kind == Kind::reasoning || last.kind == Kind::message)
        emit_for_item("response.content_part.added", {{"content_index", 0}, {"part", part(last, "")}});
}

void ResponsesAnswer::open_call(const Event& event) {
    const ToolForm form = options_.tools.form(event.text);
    const bool custom = form.kind == ToolForm::Kind::custom;
    open({custom ? Kind::custom_call : Kind::call, {}, event.id, form.name, form.name_space});
}

void ResponsesAnswer::extend_call(const Event& event) {
    if (event.text.empty() || !is_open()) return;
    Item& item = items_.back();
    if (item.kind == Kind::custom_call) return extend_input(item, item.input.feed(event.text));
    if (item.kind != Kind::call) return;
    item.text += event.text;
    if (options_.stream) emit_for_item("response.function_call_arguments.delta", {{"delta", event.text}});
}

void ResponsesAnswer::extend_input(Item& item, const std::string& text) {
    item.text += text;
    if (options_.stream && !text.empty())
        emit_for_item("response.custom_tool_call_input.delta", {{"delta", text}});
}

void ResponsesAnswer::extend(Kind kind, const Event& event) {
    if (event.text.empty()) return;
    if (!is_open() || items_.back().kind != kind) open({kind, {}, {}, {}, {}});
    Item& item = items_.back();
    item.text += event.text;
    const ordered_json logprobs =
        kind == Kind::message ? this->logprobs(event) : ordered_json(ordered_json::array());
    item.logprobs.insert(item.logprobs.end(), logprobs.begin(), logprobs.end());
    if (!options_.stream) return;
    if (kind == Kind::message) {
        emit_for_item("response.output_text.delta",
                      {{"content_index", 0}, {"delta", event.text}, {"logprobs", logprobs}});
    } else if (options_.reasoning_summary) {
        emit_for_item("response.reasoning_summary_text.delta", {{"summary_index", 0}, {"delta", event.text}});
    } else {
        emit_for_item("response.reasoning_text.delta", {{"content_index", 0}, {"delta", event.text}});
    }
}

void ResponsesAnswer::close(const char* status) {
    if (!is_open()) return;
    Item& item = items_.back();
    item.status = status;
    if (item.kind == Kind::custom_call) extend_input(item, item.input.finish());
    if (options_.stream) emit_done(item);
}

// The events of an item that has ended.
void ResponsesAnswer::emit_done(const Item& item) {
    const bool call = item.kind == Kind::call || item.kind == Kind::custom_call;
    const ordered_json part = call ? ordered_json() : this->part(item, item.text);
    if (item.kind == Kind::call) {
        emit_for_item("response.function_call_arguments.done",
                      {{"name", item.name}, {"arguments", item.text}});
    } else if (item.kind == Kind::custom_call) {
        emit_for_item("response.custom_tool_call_input.done", {{"input", item.text}});
    } else if (item.kind == Kind::message) {
        emit_for_item("response.output_text.done",
                      {{"content_index", 0}, {"text", item.text}, {"logprobs", item.logprobs}});
        emit_for_item("response.content_part.done", {{"content_index", 0}, {"part", part}});
    } else if (options_.reasoning_summary) {
        emit_for_item("response.reasoning_summary_text.done", {{"summary_index", 0}, {"text", item.text}});
        emit_for_item("response.reasoning_summary_part.done", {{"summary_index", 0}, {"part", part}});
    } else {
        emit_for_item("response.reasoning_text.done", {{"content_index", 0}, {"text", item.text}});
        emit_for_item("response.content_part.done", {{"content_index", 0}, {"part", part}});
    }
    emit("response.output_item.done",
         {{"output_index", items_.size() - 1}, {"item", item_json(items_.size() - 1, true)}});
}

void ResponsesAnswer::finish(const Usage& usage) {
    status_ = incomplete_.is_null() ? "completed" : "incomplete";
    close(status_);
    if (incomplete_.is_null()) completed_ = unix_time();
    usage_ = {{"input_tokens", usage.prompt_tokens},
              {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
              {"output_tokens", usage.completion_tokens},
              {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
              {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
    if (options_.remember)
        for (std::size_t i = 0; i < items_.size(); ++i) options_.remember(item_json(i, true));
    if (options_.stream) emit(fmt::format("response.{}", status_), {{"response", response()}});
}

bool ResponsesAnswer::is_open() const {
    return !items_.empty() && items_.back().status == std::string_view("in_progress");
}

std::string ResponsesAnswer::item_id(std::size_t index) const {
    constexpr std::array<std::string_view, 4> kPrefixes = {"rs", "msg", "fc", "ctc"};
    return fmt::format("{}_{}_{}", kPrefixes[static_cast<std::size_t>(items_[index].kind)], token_, index);
}

// `with_parts`: as it is now; without, as clients expect it before its parts are announced.
ordered_json ResponsesAnswer::item_json(std::size_t index, bool with_parts) const {
    const Item& item = items_[index];
    ordered_json parts = ordered_json::array();
    const bool has_parts = item.kind == Kind::reasoning || item.kind == Kind::message;
    if (with_parts && has_parts) parts.push_back(part(item, item.text));
    ordered_json json = {{"id", item_id(index)}};
    switch (item.kind) {
        case Kind::call:
            json.update({{"type", "function_call"},
                         {"status", item.status},
                         {"call_id", item.call_id},
                         {"name", item.name},
                         {"arguments", item.text}});
            break;
        case Kind::custom_call:
            json.update({{"type", "custom_tool_call"},
                         {"status", item.status},
                         {"call_id", item.call_id},
                         {"name", item.name},
                         {"input", item.text}});
            break;
        case Kind::message:
            json.update({{"type", "message"},
                         {"status", item.status},
                         {"role", "assistant"},
                         {"content", std::move(parts)}});
            break;
        case Kind::reasoning:
            json.update({{"type", "reasoning"}, {"status", item.status}, {"summary", ordered_json::array()}});
            json[options_.reasoning_summary ? "summary" : "content"] = std::move(parts);
            if (options_.encrypted_reasoning)
                json["encrypted_content"] =
                    with_parts ? ordered_json(std::string(kReasoningPrefix) + item.text) : ordered_json();
    }
    if (!item.name_space.empty()) json["namespace"] = item.name_space;
    return json;
}

ordered_json ResponsesAnswer::part(const Item& item, const std::string& text) const {
    if (item.kind == Kind::reasoning)
        return {{"type", options_.reasoning_summary ? "summary_text" : "reasoning_text"}, {"text", text}};
    return {{"type", "output_text"},
            {"text", text},
            {"annotations", ordered_json::array()},
            {"logprobs", text.empty() ? ordered_json::array() : item.logprobs}};
}

ordered_json ResponsesAnswer::logprobs(const Event& event) const {
    ordered_json all = ordered_json::array();
    if (!options_.token_text) return all;
    const auto as_json = [&](const TokenLogprob& one) {
        return token_json(one, options_.token_text(one.token));
    };
    for (const Logprobs& token : event.logprobs) {
        ordered_json top = ordered_json::array();
        for (const TokenLogprob& other : token.top) top.push_back(as_json(other));
        ordered_json json = as_json(token.chosen);
        json["top_logprobs"] = std::move(top);
        all.push_back(std::move(json));
    }
    return all;
}

ordered_json responses_error(const ApiError& error) {
    return openai_error_json(in_terms_of_responses(error));
}

}  // namespace cachalot::server
