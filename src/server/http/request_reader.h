// From bytes to a request: HTTP/1.x parsing by Boost.Beast, and the refusal of whatever is ambiguous.
//
// No sockets here: bytes are fed in as they come, in pieces of any size, so the same code can be tested and
// fuzzed. One reader reads one request; the header first, so that it can be judged before the body is taken
// in.
#pragma once

#include <memory>
#include <string>

#include "server/exchange.h"
#include "server/http/error.h"
#include "server/http/server.h"

namespace cachalot::server {

class RequestReader {
  public:
    explicit RequestReader(const HttpLimits& limits);  // which must outlive the reader
    ~RequestReader();

    // Parses as much of `input` as possible and removes that from it. Stops behind the header until
    // begin_body(). Returns false, with the answer in `refusal`, if the request is malformed or larger than
    // allowed.
    bool feed(std::string& input, Refusal& refusal);

    bool header_done() const;
    bool done() const;

    // After header_done(): everything of the request but its body. Returns false, with the answer in
    // `refusal`, for what two parties could read differently.
    bool take_header(HttpRequest& request, Refusal& refusal) const;

    bool has_body() const;
    std::uint64_t content_length() const;  // 0 if unknown
    bool http10() const;                   // or older
    bool keep_alive() const;               // as far as the client is concerned
    std::string expect() const;            // the header of this name, in lower case

    void begin_body();
    std::size_t body_size() const;  // what has arrived
    std::string take_body();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace cachalot::server
