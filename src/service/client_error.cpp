#include "service/client_error.h"

namespace cachalot::server {
namespace {

ApiError internal_error(const std::exception_ptr& error, const Log& log, std::string_view request_id) {
    const std::string of = request_id.empty() ? "" : fmt::format(" under {}", request_id);
    if (of.empty())
        log.error("a request failed", {{"error", cause_of(error)}});
    else
        log.error("a request failed", {{"request", request_id}, {"error", cause_of(error)}});
    ApiError told(500, "internal_error",
                  fmt::format("The request could not be completed, through no fault of its own. "
                              "The server's log tells why{}.",
                              of));
    told.cause = error;
    return told;
}

}  // namespace

std::string blamed_field(std::string_view message) {
    const auto end = message.find_first_of(": ");
    if (end == std::string_view::npos || message[end] != ':') return {};
    return std::string(message.substr(0, end));
}

ApiError client_error(const std::exception_ptr& error, Fault fault, const Log& log,
                      std::string_view request_id) {
    try {
        std::rethrow_exception(error);
    } catch (const ApiError& e) {
        return e;
    } catch (const Error& e) {
        if (fault == Fault::request) return {400, "invalid_request", e.what(), blamed_field(e.what())};
        return internal_error(error, log, request_id);
    } catch (...) {
        return internal_error(error, log, request_id);
    }
}

}  // namespace cachalot::server
