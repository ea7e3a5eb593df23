// What the dialects share: reading fields of a request, answering with JSON, reporting errors.
//
// Fields that nobody reads are ignored, but for those that would change the answer: fields.h lists them.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/exchange.h"
#include "service/json_field.h"
#include "service/random_id.h"
#include "service/service.h"

namespace cachalot::server {

// The body of a request as JSON. Throws ApiError 400 if it is not an object.
ordered_json parse_body(const HttpRequest& request);

// The largest limit on tokens that is understood; clients that mean "no limit" send numbers around here.
inline constexpr std::int64_t kMaxTokensLimit = (std::int64_t{1} << 31) - 1;

// A limit on tokens, at least `low`. Nothing if it is absent or -1, which many clients send for "no limit".
std::optional<std::int64_t> read_token_limit(const Field& limit, std::int64_t low);

// A string that must not be empty.
std::string non_empty(const Field& field);

// temperature, top_p, top_k, min_p, the penalties, seed and logit_bias, on top of what the model recommends.
// Without a seed, or with -1, a new one is drawn.
SamplingOptions read_sampling(const Field& body, const ModelInfo& model);

// The longest draft (docs/speculation.md): `draft` is true, false, "auto", "off" or where the server's drafts
// come from; `draft_max` and llama.cpp's `speculative.n_max` limit the tokens.
int read_longest_draft(const Field& body, const ModelInfo& model);

// How urgent the request is: OpenAI's service_tier "priority" or "flex", or a number below or above zero in
// `priority`, which wins; as in other servers the lowest number comes first.
Priority read_priority(const Field& body);

// Whose cache it is: the tenant's, or a part of it if there is a `cache_salt`.
std::string read_space(const Field& body, const HttpRequest& http);

// The messages of a chat completion. Throws as ApiError what parsing of text/chat.h threw as Error: the text
// before ": " becomes `param`.
std::vector<Message> read_messages(const Field& messages, ChatFormat format);

// --- errors

// What was thrown while a request was being read, and is being handled, as the client is to see it
// (client_error.h).
ApiError reading_error(const ResponseWriter& writer);

ordered_json openai_error_json(const ApiError& error);

// --- answers

// Text from outside or from a model may be broken UTF-8; it is repaired rather than refused.
std::string dump(const ordered_json& json);

// A log-probability as JSON can say it: -9999 for -infinity.
double finite(double logprob);

// A token of OpenAI's lists of probabilities: {"token","bytes","logprob"}. `bytes` are its own.
ordered_json token_json(const TokenLogprob& token, const std::string& bytes);

void respond_json(ResponseWriter& writer, const ordered_json& body, int status = 200);

// Status and Retry-After from the error, the body from the dialect.
void respond_error(ResponseWriter& writer, const ApiError& error, const ordered_json& body);

std::string sse_data(const ordered_json& json);                           // "data: ...\n\n"
std::string sse_event(std::string_view event, const ordered_json& json);  // "event: ...\ndata: ...\n\n"

// Seconds since 1970.
std::int64_t unix_time();

// An endpoint whose exceptions are answered in the dialect's shape. They must be thrown before the answer has
// begun.
Endpoint with_errors(std::function<ordered_json(const ApiError&)> error_body, Endpoint endpoint);

}  // namespace cachalot::server
