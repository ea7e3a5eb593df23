#include "server/api_anthropic.h"

#include <utility>

#include "server/api_anthropic_read.h"
#include "server/api_anthropic_write.h"
#include "server/api_common.h"

namespace cachalot::server {
namespace {

// Clients show this header's value with every error, and log it with every answer.
ResponseWriter::Headers request_id_header(const std::string& token) {
    return {{"request-id", "req_" + token}};
}

void messages(Service& service, const HttpRequest& http, const std::string& token,
              std::shared_ptr<ResponseWriter> writer) {
    AnthropicRequest read = read_anthropic_request(parse_body(http), service.info(), false);
    read.request.tenant = http.tenant;
    run_answer(service, std::move(read.request),
               std::make_unique<AnthropicAnswer>(token, std::move(read.model)), std::move(writer),
               {.stream = read.stream, .headers = request_id_header(token)});
}

void count_tokens(Service& service, const HttpRequest& http, const std::string& token,
                  const std::shared_ptr<ResponseWriter>& writer) {
    AnthropicRequest read = read_anthropic_request(parse_body(http), service.info(), true);
    read.request.tenant = http.tenant;  // whose remembered turns count
    const ordered_json answer = {{"input_tokens", service.count_tokens(read.request)}};
    writer->respond(200, "application/json", dump(answer), request_id_header(token));
}

// An endpoint that knows the request's id, and whose errors bear it in their body and as a header.
template <class Handler>
Endpoint with_request_id(Service& service, Handler handler) {
    return [&service, handler](const HttpRequest& http, std::shared_ptr<ResponseWriter> writer) {
        const std::string token = random_id("");
        try {
            handler(service, http, token, writer);
        } catch (...) {
            const ApiError error = to_api_error(std::current_exception());
            respond_error(*writer, error, anthropic_error(error, "req_" + token), request_id_header(token));
        }
    };
}

}  // namespace

std::vector<Route> anthropic_routes(Service& service) {
    return {
        {"POST", "/v1/messages", with_request_id(service, messages)},
        {"POST", "/v1/messages/count_tokens", with_request_id(service, count_tokens)},
    };
}

}  // namespace cachalot::server
