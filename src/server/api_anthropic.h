// Anthropic's Messages API: POST /v1/messages and /v1/messages/count_tokens.
#pragma once

#include <vector>

#include "server/exchange.h"
#include "server/service.h"

namespace cachalot::server {

// `service` must outlive the routes.
std::vector<Route> anthropic_routes(Service& service);

}  // namespace cachalot::server
