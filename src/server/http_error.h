// Errors that the transport itself answers with, in the shape that the client of a path understands.
#pragma once

#include <string>
#include <string_view>

namespace cachalot::server {

const char* status_text(int status);  // "Not Found"; "Unknown" for a code that is never sent here

// A JSON body. Paths of Anthropic's API (/v1/messages...) get {"type":"error","error":{"type","message"}}, every other
// one {"error":{"message","type","param","code"}}. `code` defaults to a stable name for the status.
std::string error_body(std::string_view path, int status, std::string_view message,
                       std::string_view code = {});

}  // namespace cachalot::server
