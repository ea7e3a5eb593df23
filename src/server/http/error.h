// Errors that the transport itself answers with, in the shape that the client of a path understands.
#pragma once

#include <string>
#include <string_view>

#include "server/exchange.h"

namespace cachalot::server {

// Why the transport does not pass a request on. status 0: close without a word.
struct Refusal {
    int status = 0;
    std::string message, code;
    ResponseWriter::Headers headers;
};

const char* status_text(int status);  // "Not Found"; "Unknown" for a code that is never sent here

// A JSON body. Paths of Anthropic's API (/v1/messages...) get {"type":"error","error":{"type","message"}},
// every other one {"error":{"message","type","param","code"}}. `code` defaults to a stable name for the
// status.
std::string error_body(std::string_view path, int status, std::string_view message,
                       std::string_view code = {});

}  // namespace cachalot::server
