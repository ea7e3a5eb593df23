// Events into the bytes of OpenAI's dialect.
#pragma once

#include <chrono>
#include <memory>

#include "server/api/openai_parse.h"

namespace cachalot::server::openai {

// Submit the request and answer through the writer. Throw ApiError if it cannot even be queued.
void answer_chat(Service& service, ChatRequest chat, std::shared_ptr<ResponseWriter> writer);
void answer_completion(Service& service, CompletionRequest completion,
                       std::shared_ptr<ResponseWriter> writer);

// While nothing else is sent, signs of life are at least this far apart; with the service's own heartbeat
// never more than 10 s.
inline constexpr std::chrono::seconds kKeepAlive{4};

ordered_json usage_json(const Usage& usage);

// Adds `timings` with the names that llama.cpp's server has, if there are any.
void add_timings(ordered_json& answer, const Usage& usage, const std::optional<RequestTimings>& timings);

// The last chunk of a stream has the timings, and which one that is turns out only when no other follows.
class LastChunk {
  public:
    // The bytes of the chunk that was held back; the new one is held back in its place.
    std::string hold(ordered_json chunk);
    std::string release();
    // The rest of the stream: the chunk that is held back, with timings, and the mark of the end.
    std::string end(const Event& done);

  private:
    std::optional<ordered_json> chunk_;
};

}  // namespace cachalot::server::openai
