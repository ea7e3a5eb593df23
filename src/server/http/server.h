// The HTTP/1.1 server: sockets, TLS, limits and access in front of a list of routes.
//
// Boost.Asio and Beast stay inside this folder. Each connection is one coroutine on a strand
// (connection.cpp); a few threads run all of them. Endpoints are called on those threads, or with a body on
// others (request_workers.h), and must not block.
//
// When is a client gone? While an answer is being made the connection keeps reading. A reset means gone. The
// end of the client's side may mean that it has nothing more to say, and waits (shutdown(SHUT_WR), as `nc -N`
// does), or that it has closed the whole socket, as most libraries do when a request is aborted. Then the
// first bytes of the answer are sent, which are the same for all: a socket that is closed answers them with a
// reset.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/exchange.h"
#include "server/http/access.h"

namespace cachalot::server {

struct HttpLimits {
    std::size_t request_line = 8 << 10;  // bytes of the target
    std::size_t header = 32 << 10;       // bytes of request line and headers
    std::size_t header_count = 100;
    std::size_t body = 64 << 20;     // bytes after removal of chunk framing
    std::size_t bodies = 512 << 20;  // bytes of the bodies of all requests that are not answered yet
    std::size_t unsent = 1 << 20;    // bytes of a stream that wait for the client to read
    std::size_t connections = 1024;  // more are answered 503
    std::size_t unread = 256;        // requests whose bodies wait to be taken apart; more are answered 503
    std::chrono::milliseconds header_time{
        10'000};  // from the first byte (or the connection) to the last header
    std::chrono::milliseconds body_time{30'000};   // for every 64 KiB of the body
    std::chrono::milliseconds write_time{30'000};  // without any progress
    std::chrono::milliseconds idle_time{75'000};   // between requests
    std::chrono::milliseconds linger_time{2'000};  // for a refused client to read why
};

// One request that has been answered, for metrics and the audit log.
struct Served {
    std::string id;  // as the client saw it
    std::string key_name, method;
    std::string route;  // as registered, "/v1/models/{id}"; empty if none was reached
    std::string path;
    int status = 0;         // 0: the client left before an answer began
    bool complete = false;  // the whole answer was handed to the network
    double seconds = 0;
    Annotation annotation;
    std::string request_text, response_text;  // with HttpOptions::keep_text
};

struct HttpOptions {
    std::string host = "127.0.0.1";
    std::uint16_t port = 0;   // 0: a free one
    int threads = 2;          // for the network
    int request_threads = 2;  // for endpoints of requests with a body
    HttpLimits limits;
    std::vector<std::string> allowed_hosts;  // beside loopback's names and `host`; "*": any
    Cors cors;
    ApiKeys keys;
    bool insecure = false;                         // may listen beyond loopback without a key
    std::string tls_cert, tls_key;                 // PEM files; both or none
    std::size_t keep_text = 0;                     // bytes of each body that Served shall carry
    std::function<void(const Served&)> on_served;  // on a thread of its own, or several
    Log log = {};                                  // of what goes wrong; connections that fail at level debug
};

class HttpServer {
  public:
    HttpServer(HttpOptions options, std::vector<Route> routes);
    ~HttpServer();  // stops at once
    HttpServer(const HttpServer&) = delete;

    // Binds and begins to serve. Throws Error if the address cannot be had, if it is reachable from outside
    // but no key is required, for bad TLS files, or if the system has no thread left. With fewer threads than
    // wanted it goes on.
    void start();

    std::uint16_t port() const;
    std::string url() const;  // "http://127.0.0.1:11440"
    std::size_t connections() const;
    int missing_threads() const;  // that could not be started

    // Replaces the routes for requests to come.
    void set_routes(std::vector<Route> routes);

    // Accepts no more connections and closes idle ones; returns when all answers are sent, or cuts them off
    // at the deadline. Endpoints' writers stay valid and do nothing.
    void stop(std::chrono::steady_clock::time_point deadline = {});

  private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace cachalot::server
