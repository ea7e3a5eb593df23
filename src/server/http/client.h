// A small HTTP client: what one program of ours needs to ask a server of ours.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cachalot::server {

struct HttpAnswer {
    int status = 0;
    std::string body;  // at most 1 MiB
};

// GET http://HOST:PORT PATH, with `key` as bearer token unless it is empty. Nothing if nobody listens there,
// or if the listener ended before it answered. Throws Error for a host without address, and for an answer
// that does not come in time or is not HTTP.
std::optional<HttpAnswer> http_get(const std::string& host, std::uint16_t port, std::string_view path,
                                   const std::string& key = {},
                                   std::chrono::milliseconds timeout = std::chrono::seconds(5));

// A port of the loopback interface that was free a moment ago.
std::uint16_t free_port();

}  // namespace cachalot::server
