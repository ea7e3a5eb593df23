// Anthropic's Messages API: POST /v1/messages and /v1/messages/count_tokens.
#pragma once

#include <vector>

#include "server/exchange.h"
#include "service/service.h"

namespace cachalot::server {

// `service` must outlive the routes. `shown_context`: numbers of tokens are reported as if the model's
// context were this long, for clients that believe so and compact a conversation when it is nearly full; 0:
// as they are.
std::vector<Route> anthropic_routes(Service& service, std::int64_t shown_context = 0);

}  // namespace cachalot::server
