// What the dialects need of a model: one request in, a stream of events out.
//
// Every dialect parses its JSON into a Request and turns Events into its own bytes; nothing here knows JSON
// or HTTP. The real model (engine_service) and the scripted one (scripted_service) implement Service, so
// clients can be tested without weights.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/answer_form.h"
#include "engine/scheduler.h"
#include "text/chat.h"
#include "text/prompt.h"

namespace cachalot::server {

// An error that the client is to see, in the terms that all dialects share. Thrown by parsing and by
// Service::submit, delivered in an Event later. `code` is stable: "context_length_exceeded", "queue_full",
// "shutting_down", ...
class ApiError : public Error {
  public:
    ApiError(int http_status, std::string stable_code, const std::string& message, std::string field = {})
        : Error(message), status(http_status), code(std::move(stable_code)), param(std::move(field)) {}
    int status;
    std::string code;
    std::string param;    // the field that is to blame
    int retry_after = 0;  // seconds, for 429 and 503
    // context_length_exceeded: the numbers, since each dialect has its own sentence for them
    std::int64_t prompt_tokens = 0, max_tokens = 0, context = 0;
    bool uncounted = false;  // prompt_tokens is one more than the context, where counting stopped
    // Of a fault of the server's: what was thrown, for callers in this process. It may name files, so no
    // dialect looks at it.
    std::exception_ptr cause;
};

enum class ToolChoice { automatic, none, required, named };

struct Request {
    // Either a conversation or a raw text to continue (also as token ids).
    bool raw = false;
    Conversation conversation;
    std::vector<TextPart> text;
    std::vector<std::int32_t> tokens;
    bool echo = false;  // raw: report the prompt's tokens and their log-probabilities, too

    ChatOptions chat;
    ToolChoice tool_choice = ToolChoice::automatic;
    std::string named_tool;
    bool parallel_tool_calls = true;
    AnswerForm form;              // that the content has
    bool hide_reasoning = false;  // the client does not want to see it

    GenerationOptions generation;
    bool max_tokens_given = false;      // else the answer may fill the context
    int n = 1;                          // choices
    int longest_draft = kLongestDraft;  // tokens; the operator's limit holds, too

    std::string tenant;  // cache namespace
    std::string id;      // that the client was given, for the log
    Priority priority = Priority::normal;

    // Told the number of the prompt's tokens within submit(), before any event. May be empty.
    std::function<void(std::int64_t prompt_tokens)> sized;

    // Whether nobody waits for the answer any more; asked while the request is queued and before every step,
    // by any thread. True cancels.
    std::function<bool()> abandoned;
};

struct Usage {
    std::int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
};

// What a request took at the model; time in the queue does not count.
struct RequestTimings {
    double prompt_seconds = 0;  // until the first token
    double answer_seconds = 0;  // from then on, until the last one
    DraftFigures drafts;
};

struct Event {
    enum class Kind {
        started,         // taken from the queue; usage.prompt_tokens and cached_tokens are known
        progress,        // done of total prompt tokens; also, so that connections can be kept alive, whenever
                         // nothing else has been sent for a few seconds (in the queue both are 0)
        reasoning,       // text
        content,         // text
        call_start,      // call, id, text = the tool's name
        call_arguments,  // call, text = more of the JSON
        call_end,        // call
        prompt_logprobs,  // raw with echo: text = the prompt, logprobs of its tokens (the first: NaN)
        finished,  // of a choice: finish_reason "stop", "length", "tool_calls"; stop_text if one matched
        done,      // all choices; usage is complete, timings of a real model are there. The last event.
        failed,    // error. The last event.
    };
    Kind kind;
    int choice = 0;
    std::string text;
    std::size_t call = 0;
    std::string id;
    std::string finish_reason, stop_text;
    std::int64_t progress_done = 0, progress_total = 0;
    Usage usage;
    std::vector<std::int32_t> tokens;  // finished: of the prompt and the choice, without EOS
    std::vector<Logprobs> logprobs;    // of the tokens that make up `text`, if asked for
    std::optional<RequestTimings> timings;
    std::shared_ptr<const ApiError> error;
};

// A request that has been accepted.
class Job {
  public:
    virtual ~Job() = default;
    virtual void cancel() = 0;  // work stops within one step; no `done` follows
};

struct ModelInfo {
    std::string id;  // what clients call it
    std::int64_t created = 0;
    std::int64_t context = 0;
    int vocab_size = 0;
    // Where requests start from: what the model recommends, what the operator chose.
    SamplingOptions sampling = {};
    ChatOptions chat = {};
    bool remove_client_noise = true;  // conversation_policy.h
    std::string draft = "off";        // where drafts come from: "off", "lookup", "dspark" or "mtp"
};

class Service {
  public:
    virtual ~Service() = default;
    virtual const ModelInfo& info() const = 0;
    virtual bool ready() const = 0;

    // Queues a request. Events arrive on the worker's thread, in the order of each choice; the sink must not
    // block. Throws ApiError if the request cannot be run (queue full: 429; too long for the context: 400;
    // shutting down: 503).
    using Sink = std::function<void(const Event&)>;
    virtual std::shared_ptr<Job> submit(Request request, Sink sink) = 0;

    // For count_tokens, tokenize, detokenize, apply-template. Throw ApiError for input that cannot be
    // handled.
    virtual std::int64_t count_tokens(const Request& request) const = 0;
    virtual std::string render(const Request& request) const = 0;  // the prompt's text
    virtual std::vector<std::int32_t> tokenize(std::string_view text, bool parse_special) const = 0;
    virtual std::string detokenize(std::span<const std::int32_t> tokens) const = 0;

    // Refuses new requests; returns when the running ones are done, or cancels them at the deadline.
    virtual void drain(std::chrono::steady_clock::time_point deadline) = 0;
};

}  // namespace cachalot::server
