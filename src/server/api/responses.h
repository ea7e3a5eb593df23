// OpenAI's Responses API: POST /v1/responses. Responses are not stored: asking for one again is a 404.
#pragma once

#include <vector>

#include "server/exchange.h"
#include "service/service.h"

namespace cachalot::server {

// `service` must outlive the routes.
std::vector<Route> responses_routes(Service& service);

}  // namespace cachalot::server
