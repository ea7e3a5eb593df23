#include "server/api/responses.h"

#include <utility>

#include "server/api/answered_items.h"
#include "server/api/common.h"
#include "server/api/responses_read.h"
#include "server/api/responses_write.h"

namespace cachalot::server {
namespace {

void create(Service& service, const std::shared_ptr<AnsweredItems>& items, const HttpRequest& http,
            std::shared_ptr<ResponseWriter> writer) {
    auto body = parse_body(http);
    const std::string space = read_space(Field(body), http);
    items->resolve(space, body);
    ResponsesRequest read = read_responses_request(body, service.info());
    read.request.tenant = space;
    ResponsesAnswerOptions options;
    options.stream = read.stream;
    options.repeated = std::move(read.repeated);
    options.reasoning_summary = read.reasoning_summary;
    options.encrypted_reasoning = read.encrypted_reasoning;
    options.tools = std::move(read.tools);
    if (read.remembered)
        options.remember = [items, space](const ordered_json& item) { items->remember(space, item); };
    options.token_text = [&service](std::int32_t token) { return service.detokenize({&token, 1}); };
    auto answer = std::make_unique<ResponsesAnswer>(random_id(""), unix_time(), std::move(options));
    run_answer(service, std::move(read.request), std::move(answer), std::move(writer),
               {.stream = read.stream});
}

[[noreturn]] void not_stored(const HttpRequest&, const std::shared_ptr<ResponseWriter>&) {
    throw ApiError(404, "response_not_found", "Responses are not stored by this server.", "response_id");
}

// An endpoint of the original that is not served.
Endpoint absent(const char* instead) {
    return with_errors(responses_error,
                       [instead](const HttpRequest&, const std::shared_ptr<ResponseWriter>&) {
                           throw ApiError(404, "not_found", instead);
                       });
}

}  // namespace

std::vector<Route> responses_routes(Service& service) {
    const auto items = std::make_shared<AnsweredItems>();
    return {
        {"POST", "/v1/responses",
         with_errors(responses_error,
                     [&service, items](const HttpRequest& http, std::shared_ptr<ResponseWriter> writer) {
                         create(service, items, http, std::move(writer));
                     })},
        {"GET", "/v1/responses/{id}", with_errors(responses_error, not_stored)},
        {"POST", "/v1/responses/{id}/cancel", with_errors(responses_error, not_stored)},
        {"POST", "/v1/responses/input_tokens",
         absent("Tokens are counted by /v1/messages/count_tokens and /tokenize.")},
        {"POST", "/v1/responses/compact",
         absent("Conversations are not compacted by this server; send a shorter one to /v1/responses.")},
        {"DELETE", "/v1/responses/{id}", with_errors(responses_error, not_stored)},
    };
}

}  // namespace cachalot::server
