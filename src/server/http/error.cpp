#include "server/http/error.h"

#include <nlohmann/json.hpp>

namespace cachalot::server {
namespace {

struct Known {
    int status;
    const char* text;
    const char* type;  // of both APIs; they agree wherever both have a name
    const char* code;
};

constexpr Known kKnown[] = {
    {200, "OK", "", ""},
    {204, "No Content", "", ""},
    {400, "Bad Request", "invalid_request_error", "bad_request"},
    {401, "Unauthorized", "authentication_error", "invalid_api_key"},
    {403, "Forbidden", "permission_error", "forbidden"},
    {404, "Not Found", "not_found_error", "not_found"},
    {405, "Method Not Allowed", "invalid_request_error", "method_not_allowed"},
    {408, "Request Timeout", "timeout_error", "request_timeout"},
    {409, "Conflict", "invalid_request_error", "conflict"},
    {413, "Payload Too Large", "request_too_large", "request_too_large"},
    {414, "URI Too Long", "invalid_request_error", "uri_too_long"},
    {415, "Unsupported Media Type", "invalid_request_error", "unsupported_media_type"},
    {417, "Expectation Failed", "invalid_request_error", "expectation_failed"},
    {422, "Unprocessable Entity", "invalid_request_error", "unprocessable"},
    {429, "Too Many Requests", "rate_limit_error", "rate_limited"},
    {431, "Request Header Fields Too Large", "invalid_request_error", "header_too_large"},
    {500, "Internal Server Error", "api_error", "internal_error"},
    {501, "Not Implemented", "invalid_request_error", "not_implemented"},
    {503, "Service Unavailable", "overloaded_error", "unavailable"},
    {505, "HTTP Version Not Supported", "invalid_request_error", "http_version"},
    {529, "Overloaded", "overloaded_error", "overloaded"},
};

const Known& known(int status) {
    static constexpr Known kOther = {0, "Unknown", "api_error", "error"};
    for (const auto& entry : kKnown)
        if (entry.status == status) return entry;
    return kOther;
}

}  // namespace

const char* status_text(int status) { return known(status).text; }

std::string error_body(std::string_view path, int status, std::string_view message, std::string_view code) {
    const Known& entry = known(status);
    nlohmann::ordered_json body;
    if (path == "/v1/messages" || path.starts_with("/v1/messages/"))
        body = {{"type", "error"}, {"error", {{"type", entry.type}, {"message", message}}}};
    else
        body = {{"error",
                 {{"message", message},
                  {"type", entry.type},
                  {"param", nullptr},
                  {"code", code.empty() ? std::string_view(entry.code) : code}}}};
    return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cachalot::server
