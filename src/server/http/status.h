// The server's own routes: what orchestration and health probes ask, and APIs that this family of models
// cannot offer.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/exchange.h"
#include "service/metrics.h"

namespace cachalot::server {

struct StatusOptions {
    std::string version;
    std::function<bool()> ready;  // thread-safe; false while loading or draining
    const Metrics* metrics = nullptr;
    bool metrics_open = true;  // without a key
    // Thread-safe; why no request is answered until the server is started again; empty: there is no such
    // reason. Clients are told that there is one, not what it names.
    std::function<std::string()> problem = {};
};

// GET /, /health, /ready, /version, /metrics; POST /v1/embeddings, /v1/rerank, /rerank: 501.
std::vector<Route> status_routes(StatusOptions options);

// What to answer for all other paths while the model is being loaded: 503, to be tried again.
std::vector<Route> loading_routes();

}  // namespace cachalot::server
