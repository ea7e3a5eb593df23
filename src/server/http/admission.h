// Whether a request may go on to its endpoint, decided from its header alone.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/error.h"
#include "server/http/request_reader.h"
#include "server/http/router.h"
#include "server/http/server.h"

namespace cachalot::server {

struct Admission {
    std::optional<Refusal> refusal;  // or else `route`
    const Route* route = nullptr;    // lives as long as the router; with some refusals, too
    std::string path;                // with `route`: the path that was meant, see Router::find_repaired
    std::string key_name;            // which key was used, if any was
    std::string cors_headers;        // complete lines for the answer, whatever it is
};

// The order of the checks is a promise: host, origin, preflight, key, route, size. Somebody without a key
// learns nothing but that one is needed, and a page of a foreign origin not even that. `local_address`: where
// the connection came in.
Admission admit(const HttpRequest& request, const RequestReader& reader, const HttpOptions& options,
                const HostList& hosts, const Router& router, std::string_view local_address);

}  // namespace cachalot::server
