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
    run_answer(service, std::move(read.request),
               std::make_unique<AnthropicAnswer>(http.id, std::move(read.model)), std::move(writer),
               {.stream = read.stream});
}

void count_tokens(Service& service, const HttpRequest& http, const std::shared_ptr<ResponseWriter>& writer) {
    AnthropicRequest read = read_anthropic_request(parse_body(http), service.info(), true);
    read.request.tenant = http.tenant;  // whose remembered turns count
    respond_json(*writer, {{"input_tokens", service.count_tokens(read.request)}});
}

template <class Handler>
Endpoint endpoint(Service& service, Handler handler) {
    return [&service, handler](const HttpRequest& http, std::shared_ptr<ResponseWriter> writer) {
        try {
            handler(service, http, writer);
        } catch (...) {
            const ApiError error = to_api_error(std::current_exception());
            respond_error(*writer, error, anthropic_error(error, "req_" + http.id));
        }
    };
}

}  // namespace

std::vector<Route> anthropic_routes(Service& service) {
    return {
        {"POST", "/v1/messages", endpoint(service, messages)},
        {"POST", "/v1/messages/count_tokens", endpoint(service, count_tokens)},
    };
}

}  // namespace cachalot::server
