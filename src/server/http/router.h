// Which endpoint a path leads to.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/exchange.h"

namespace cachalot::server {

struct Target {
    std::string path;   // decoded
    std::string query;  // as sent
};

// Takes apart the target of a request line: "/v1/models/a%2Fb?x=1". Nothing for one that is not a path ("*",
// "http://..", "host:port"), has a malformed escape or an escaped control character.
std::optional<Target> parse_target(std::string_view target);

class Router {
  public:
    explicit Router(std::vector<Route> routes) : routes_(std::move(routes)) {}

    struct Match {
        std::string path;              // to which it belongs
        const Route* route = nullptr;  // none: see `allowed`
        std::string allowed;  // "GET, HEAD, OPTIONS": what the path offers; empty if there is no such path
    };
    // Literal paths win over patterns, then the order of registration counts. HEAD finds the route of GET.
    Match find(std::string_view method, std::string_view path) const;

    // The same for a path that was put together from a wrong base URL, if nothing at the path itself takes
    // the method: without /v1, with two of them or with something before it or in its place, with slashes too
    // many, or with an endpoint in it.
    Match find_repaired(std::string_view method, std::string_view path) const;

  private:
    std::vector<std::string> candidates(std::string_view path) const;

    std::vector<Route> routes_;
};

}  // namespace cachalot::server
