// What the APIs call an error of an HTTP status: the `type` in its body. The same wherever an error comes
// from, the transport or a dialect.
#pragma once

namespace cachalot::server {

struct ErrorTypes {
    const char* openai;
    const char* anthropic;
};

constexpr ErrorTypes error_types(int status) {
    switch (status) {
        case 401: return {"authentication_error", "authentication_error"};
        case 403: return {"permission_error", "permission_error"};
        case 404: return {"not_found_error", "not_found_error"};
        case 408: return {"timeout_error", "timeout_error"};
        case 413: return {"invalid_request_error", "request_too_large"};
        case 429: return {"rate_limit_error", "rate_limit_error"};
        case 501: return {"not_implemented_error", "api_error"};
        case 503:
        case 529: return {"service_unavailable_error", "overloaded_error"};
        default: break;
    }
    if (status < 500) return {"invalid_request_error", "invalid_request_error"};
    return {"server_error", "api_error"};
}

}  // namespace cachalot::server
