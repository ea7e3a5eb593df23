#include "server/http/admission.h"

#include <fmt/format.h>

#include "server/http/encoding.h"

namespace cachalot::server {
namespace {

// Preflights carry no key; nor is there a secret in the answer.
Refusal preflight(const HttpRequest& request, const std::string& allowed, bool cors) {
    if (!cors) return {204, {}, {}, {{"Allow", allowed}}};
    // "*" does not cover Authorization, so the names that were asked for are repeated.
    std::string names(request.header("access-control-request-headers"));
    if (names.empty()) names = "authorization, content-type, x-api-key";
    return {204,
            {},
            {},
            {{"Allow", allowed},
             {"Access-Control-Allow-Methods", allowed},
             {"Access-Control-Allow-Headers", names},
             {"Access-Control-Max-Age", "600"}}};
}

std::string nothing_at(const std::string& path) {
    return fmt::format(
        "There is nothing at '{}'. "
        "OpenAI's clients need a base URL that ends in /v1, Anthropic's one without.",
        path.substr(0, 200));
}

}  // namespace

Admission admit(const HttpRequest& request, const RequestReader& reader, const HttpOptions& options,
                const HostList& hosts, const Router& router, std::string_view local_address) {
    Admission result;
    auto refuse = [&](int status, std::string text, std::string code = {},
                      ResponseWriter::Headers headers = {}) {
        result.refusal = Refusal{status, std::move(text), std::move(code), std::move(headers)};
        return result;
    };
    auto host = request.header("host");
    bool no_browser = reader.http10() && host.empty();
    if (!no_browser && !hosts.allows(host, local_address))
        return refuse(403, "This server does not answer to that Host. Name it with --allowed-hosts.",
                      "host_not_allowed");

    auto origin = request.header("origin");
    bool reads_only = request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS";
    if (!origin.empty() && !same_origin(origin, host)) {
        if (auto allowed = options.cors.allows(origin))
            result.cors_headers = fmt::format(
                "Access-Control-Allow-Origin: {}\r\nVary: Origin\r\n"
                "Access-Control-Expose-Headers: request-id, x-request-id, retry-after\r\n",
                *allowed);
        else if (!reads_only)
            return refuse(403, "Requests from pages of this origin are not allowed. Allow it with --cors.",
                          "origin_not_allowed");
    }

    auto match = router.find_repaired(request.method, request.path);
    if (request.method == "OPTIONS") {
        if (request.path == "*") match.allowed = "GET, HEAD, POST, OPTIONS";
        if (match.allowed.empty()) return refuse(404, nothing_at(request.path));
        result.refusal = preflight(request, match.allowed, !result.cors_headers.empty());
        return result;
    }

    if (!options.keys.empty()) {
        auto name = options.keys.find(request.header("authorization"), request.header("x-api-key"));
        if (!name && !(match.route && match.route->open))
            return refuse(401, "Missing or wrong API key (Authorization: Bearer KEY, or x-api-key: KEY).", {},
                          {{"WWW-Authenticate", "Bearer"}});
        if (name) result.key_name = *name;
    }
    if (match.allowed.empty()) return refuse(404, nothing_at(request.path));
    if (!match.route)
        return refuse(405, "This path does not take " + request.method + ".", {}, {{"Allow", match.allowed}});
    result.route = match.route;
    result.path = std::move(match.path);
    if (reader.content_length() > options.limits.body)
        return refuse(413, fmt::format("The body is larger than {} bytes.", options.limits.body));
    if (const auto encoding = request.header("content-encoding");
        !is_plain(encoding) && !can_decode(encoding))
        return refuse(
            415,
            fmt::format(
                "Bodies with the content encoding '{}' cannot be read. Send them plain, or as one of: {}.",
                encoding.substr(0, 100), kBodyEncodings),
            {}, {{"Accept-Encoding", std::string(kBodyEncodings)}});
    if (const std::string expect = reader.expect(); !expect.empty() && expect != "100-continue")
        return refuse(417, "Only '100-continue' can be expected.");
    return result;
}

}  // namespace cachalot::server
