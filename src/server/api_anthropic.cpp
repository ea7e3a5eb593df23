#include "server/api_anthropic.h"

#include <utility>

#include "server/api_anthropic_read.h"
#include "server/api_anthropic_write.h"
#include "server/api_common.h"

namespace cachalot::server {
namespace {

void messages(Service& service, const HttpRequest& http, std::shared_ptr<ResponseWriter> writer) {
    AnthropicRequest read = read_anthropic_request(parse_body(http), service.info(), false);
    read.request.tenant = http.tenant;
    // The stream begins with the size of the prompt, long before the model gets to see it.
    const std::int64_t prompt_tokens = service.count_tokens(read.request);
    const std::string token = random_id("");
    auto answer = std::make_unique<AnthropicAnswer>(token, std::move(read.model), prompt_tokens);
    run_answer(service, std::move(read.request), std::move(answer), std::move(writer),
               {.stream = read.stream, .headers = {{"request-id", "req_" + token}}});
}

void count_tokens(Service& service, const HttpRequest& http, ResponseWriter& writer) {
    const AnthropicRequest read = read_anthropic_request(parse_body(http), service.info(), true);
    respond_json(writer, {{"input_tokens", service.count_tokens(read.request)}});
}

}  // namespace

std::vector<Route> anthropic_routes(Service& service) {
    const auto error_body = [](const ApiError& error) { return anthropic_error(error, random_id("req_")); };
    return {
        {"POST", "/v1/messages",
         with_errors(error_body,
                     [&service](const HttpRequest& http, std::shared_ptr<ResponseWriter> w) {
                         messages(service, http, w);
                     })},
        {"POST", "/v1/messages/count_tokens",
         with_errors(error_body,
                     [&service](const HttpRequest& http, std::shared_ptr<ResponseWriter> w) {
                         count_tokens(service, http, *w);
                     })},
    };
}

}  // namespace cachalot::server
