// What a client is told of an exception. Decided here and nowhere else.
//
// An exception names files, devices and lines of our source, for whoever runs the program. Clients may be
// anybody: of what is wrong with their request they are told everything, and of what is wrong with the server
// only that something is. The log has the whole cause, under the id that the client was given.
#pragma once

#include <exception>
#include <string>
#include <string_view>

#include "base/log.h"
#include "service/service.h"

namespace cachalot::server {

// What was being done when it was thrown, and so what an Error speaks of.
enum class Fault {
    request,  // reading what the client has sent
    server,   // anything else
};

// ApiError as it is. Of Fault::request an Error as 400 "invalid_request" that blames the field which its
// message begins with. All else as 500 "internal_error" with a sentence that names the request; the log gets
// the cause, and callers in this process find it in ApiError::cause. `error` must not be null.
ApiError client_error(const std::exception_ptr& error, Fault fault, const Log& log,
                      std::string_view request_id);

// The field that a message speaks of: "messages[3].role" of "messages[3].role: unknown role"; empty if it
// names none.
std::string blamed_field(std::string_view message);

// Once Engine::problem() says why nothing can be answered any more; it names the file.
inline constexpr const char* kModelChanged =
    "A file of the model was changed or cut off while in use. "
    "The server has to be started again; its log names the file.";

}  // namespace cachalot::server
