// An answer on its way from the model to the client: whole, or as a stream of server-sent events.
//
// What the model writes arrives as Events, the same for every dialect. A dialect says what its bytes are
// (Answer); run_answer does what all of them need: it hands the requests to the service, sends the beginning
// of a stream at once, keeps the connection alive and reports errors, before the answer has begun as an HTTP
// error, afterwards inside the stream.
//
//     events   started  (progress | reasoning | content | call_start ... call_end)*  finished  done | failed
//     stream   start()  feed() of each, or keep_alive()                                          fail()
//     whole             feed() of each, without bytes                                  whole() | error_body()
//
// Each choice has its own `finished`; the end is for all of them.
#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "server/exchange.h"
#include "service/service.h"

namespace cachalot::server {

// One answer in the form of a dialect. Called by one thread at a time.
class Answer {
  public:
    virtual ~Answer() = default;

    // How large the prompt is, before anything else.
    virtual void sized(std::int64_t /*prompt_tokens*/) {}

    // Bytes of a stream, if it is to be one: its beginning, what an event adds to it (often nothing), a sign
    // of life while nothing else is sent, and its end after an error. Nothing follows `done` or fail().
    virtual std::string start() = 0;
    virtual std::string feed(const Event& event) = 0;
    virtual std::string keep_alive(const Event& progress) = 0;
    virtual std::string fail(const ApiError& error) = 0;

    // What all events so far add up to, as JSON text: arguments of calls may be in it as they were written.
    virtual std::string whole() const = 0;

    virtual nlohmann::ordered_json error_body(const ApiError& error) const = 0;

    // Whether a client that asked for a stream looks for this error inside of one.
    virtual bool fails_in_stream(const ApiError&) const { return false; }
};

struct AnswerOptions {
    bool stream = false;
    // Signs of life are at least this far apart, however often the service reports progress.
    std::chrono::milliseconds keep_alive = std::chrono::seconds(2);
};

// Returns when the service has accepted the request; the answer follows. Throws what Service::submit throws.
void run_answer(Service& service, Request request, std::unique_ptr<Answer> answer,
                std::shared_ptr<ResponseWriter> writer, AnswerOptions options);

// The same of several requests (at least one) that have one answer: their choices are counted through,
// request by request, their numbers of tokens added up. None is answered unless the service accepts all, and
// all stop when one fails.
void run_answers(Service& service, std::vector<Request> requests, std::unique_ptr<Answer> answer,
                 std::shared_ptr<ResponseWriter> writer, AnswerOptions options);

}  // namespace cachalot::server
