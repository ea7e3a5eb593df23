// What an endpoint sees of HTTP: a request that has been read and checked, and a writer for the answer.
//
// The seam between transport (http/: sockets, TLS, limits, keys) and dialects (api/: JSON in, JSON or server-
// sent events out). Neither knows the other; tests of the dialects need no socket.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"

namespace cachalot::server {

struct HttpRequest {
    std::string method;                                        // upper case
    std::string path;                                          // decoded, without the query: "/v1/messages"
    std::string query;                                         // what follows '?', as sent
    std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
    std::string body;
    std::string tenant;  // which API key was used; empty if none is configured
    std::string id;      // made up by the server; every answer bears it as "req_{id}" in its headers

    std::string_view header(std::string_view name) const {  // empty if absent
        for (const auto& [key, value] : headers)
            if (key == name) return value;
        return {};
    }
};

// What an audit log wants to know of a request beyond what the transport sees.
struct Annotation {
    std::string model;
    std::int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
};

// The answer to one request: either respond() once, or start_stream(), any number of write() and finish().
// May be called from any thread, one at a time. Calls after the client has gone do nothing; nothing here
// blocks for long: a client that does not read what is sent to it counts as gone.
class ResponseWriter {
  public:
    virtual ~ResponseWriter() = default;

    using Headers = std::vector<std::pair<std::string, std::string>>;
    virtual void respond(int status, std::string_view content_type, std::string body,
                         const Headers& extra = {}) = 0;

    // Server-sent events: status 200, text/event-stream, no caching, no buffering.
    virtual void start_stream(const Headers& extra = {}) = 0;
    virtual void write(std::string bytes) = 0;
    virtual void finish() = 0;

    // Whether the client has closed the connection (or stopped reading). To be asked often; cheap.
    virtual bool client_gone() const = 0;

    // The id that every answer bears ("req_..."), and where to log what goes wrong with the request. By
    // default none.
    virtual std::string request_id() const { return {}; }
    virtual Log log() const { return {}; }

    // For the audit log: adds to the numbers of tokens; before respond() or finish(). The default keeps
    // nothing.
    virtual void annotate(const Annotation& annotation) { (void)annotation; }
};

// Called on a transport thread, or if the request has a body on one of a few threads that are for reading
// bodies; must not block: long work is queued and answered later through the writer, which the endpoint keeps
// alive. An exception is answered as client_error.h says, in the shape that the transport has for the path.
using Endpoint = std::function<void(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer)>;

struct Route {
    std::string method;  // "GET", "POST"
    std::string path;    // "/v1/models/{id}": a {name} matches one segment or, at the end, the rest
    Endpoint endpoint;
    bool open = false;  // reachable without an API key
};

}  // namespace cachalot::server
