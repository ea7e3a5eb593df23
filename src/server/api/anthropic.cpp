#include "server/api/anthropic.h"

#include <utility>

#include "server/api/anthropic_read.h"
#include "server/api/anthropic_write.h"
#include "server/api/common.h"

namespace cachalot::server {
namespace {

void messages(Service& service, TokenScale scale, const HttpRequest& http,
              std::shared_ptr<ResponseWriter> writer) {
    const auto body = parse_body(http);
    AnthropicRequest read = read_anthropic_request(body, service.info(), false);
    read.request.tenant = read_space(Field(body), http);
    run_answer(service, std::move(read.request),
               std::make_unique<AnthropicAnswer>(http.id, std::move(read.model), read.stream, scale),
               std::move(writer), {.stream = read.stream});
}

void count_tokens(Service& service, TokenScale scale, const HttpRequest& http,
                  const std::shared_ptr<ResponseWriter>& writer) {
    const auto body = parse_body(http);
    AnthropicRequest read = read_anthropic_request(body, service.info(), true);
    read.request.tenant = read_space(Field(body), http);  // whose remembered turns count
    respond_json(*writer, {{"input_tokens", scale(service.count_tokens(read.request))}});
}

}  // namespace

std::vector<Route> anthropic_routes(Service& service, std::int64_t shown_context) {
    const TokenScale scale =
        shown_context > 0 ? TokenScale{shown_context, service.info().context} : TokenScale{};
    auto endpoint = [&service, scale](auto handler) -> Endpoint {
        return [&service, scale, handler](const HttpRequest& http, std::shared_ptr<ResponseWriter> writer) {
            try {
                handler(service, scale, http, writer);
            } catch (...) {
                const ApiError error = reading_error(*writer);
                respond_error(*writer, error, anthropic_error(error, "req_" + http.id));
            }
        };
    };
    return {
        {"POST", "/v1/messages", endpoint(messages)},
        {"POST", "/v1/messages/count_tokens", endpoint(count_tokens)},
    };
}

}  // namespace cachalot::server
