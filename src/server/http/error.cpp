#include "server/http/error.h"

#include <nlohmann/json.hpp>

#include "server/error_types.h"

namespace cachalot::server {
namespace {

struct Known {
    int status;
    const char* text;
    const char* code;
};

constexpr Known kKnown[] = {
    {200, "OK", ""},
    {204, "No Content", ""},
    {400, "Bad Request", "bad_request"},
    {401, "Unauthorized", "invalid_api_key"},
    {403, "Forbidden", "forbidden"},
    {404, "Not Found", "not_found"},
    {405, "Method Not Allowed", "method_not_allowed"},
    {408, "Request Timeout", "request_timeout"},
    {409, "Conflict", "conflict"},
    {413, "Payload Too Large", "request_too_large"},
    {414, "URI Too Long", "uri_too_long"},
    {415, "Unsupported Media Type", "unsupported_media_type"},
    {417, "Expectation Failed", "expectation_failed"},
    {422, "Unprocessable Entity", "unprocessable"},
    {429, "Too Many Requests", "rate_limited"},
    {431, "Request Header Fields Too Large", "header_too_large"},
    {500, "Internal Server Error", "internal_error"},
    {501, "Not Implemented", "not_implemented"},
    {503, "Service Unavailable", "unavailable"},
    {505, "HTTP Version Not Supported", "http_version"},
    {529, "Overloaded", "overloaded"},
};

const Known& known(int status) {
    static constexpr Known kOther = {0, "Unknown", "error"};
    for (const auto& entry : kKnown)
        if (entry.status == status) return entry;
    return kOther;
}

}  // namespace

const char* status_text(int status) { return known(status).text; }

std::string error_body(std::string_view path, int status, std::string_view message, std::string_view code) {
    const ErrorTypes types = error_types(status);
    nlohmann::ordered_json body;
    if (path == "/v1/messages" || path.starts_with("/v1/messages/"))
        body = {{"type", "error"}, {"error", {{"type", types.anthropic}, {"message", message}}}};
    else
        body = {{"error",
                 {{"message", message},
                  {"type", types.openai},
                  {"param", nullptr},
                  {"code", code.empty() ? std::string_view(known(status).code) : code}}}};
    return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cachalot::server
