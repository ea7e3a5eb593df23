#include "server/http/router.h"

#include <algorithm>

namespace cachalot::server {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool is_variable(std::string_view segment) {
    return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

// Whether `path` fits `pattern`; a variable at the pattern's end takes the rest, which must not be empty.
bool fits(std::string_view pattern, std::string_view path) {
    while (true) {
        auto pattern_end = pattern.find('/'), path_end = path.find('/');
        auto segment = pattern.substr(0, pattern_end);
        if (is_variable(segment)) {
            if (pattern_end == std::string_view::npos) return !path.empty();
            if (path_end == 0) return false;
        } else if (segment != path.substr(0, path_end)) {
            return false;
        }
        if (pattern_end == std::string_view::npos || path_end == std::string_view::npos)
            return pattern_end == path_end;
        pattern.remove_prefix(pattern_end + 1);
        path.remove_prefix(path_end + 1);
    }
}

constexpr std::string_view kVersion = "/v1";

std::string without_extra_slashes(std::string_view path) {
    std::string result;
    for (const char c : path)
        if (c != '/' || result.empty() || result.back() != '/') result += c;
    if (result.size() > 1 && result.back() == '/') result.pop_back();
    return result;
}

}  // namespace

std::optional<Target> parse_target(std::string_view target) {
    if (target.empty() || target.front() != '/') return std::nullopt;
    Target result;
    auto query = target.find('?');
    if (query != std::string_view::npos) result.query = target.substr(query + 1);
    auto raw = target.substr(0, std::min(query, target.find('#')));
    for (std::size_t i = 0; i < raw.size(); ++i) {
        char c = raw[i];
        if (c == '%') {
            int high = i + 2 < raw.size() ? hex_digit(raw[i + 1]) : -1;
            int low = i + 2 < raw.size() ? hex_digit(raw[i + 2]) : -1;
            if (high < 0 || low < 0) return std::nullopt;
            c = static_cast<char>(high * 16 + low);
            if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
            i += 2;
        }
        result.path += c;
    }
    return result;
}

Router::Match Router::find(std::string_view method, std::string_view path) const {
    std::string_view wanted = method == "HEAD" ? "GET" : method;
    Match match;
    match.path = path;
    bool literal = false;
    std::vector<std::string_view> methods;
    for (const Route& route : routes_) {
        if (route.path != path && !fits(route.path, path)) continue;
        if (std::find(methods.begin(), methods.end(), route.method) == methods.end()) {
            methods.push_back(route.method);
            if (route.method == "GET") methods.push_back("HEAD");
        }
        if (route.method != wanted) continue;
        bool is_literal = route.path == path;
        if (!match.route || (is_literal && !literal)) match.route = &route, literal = is_literal;
    }
    if (methods.empty()) return match;
    for (auto m : methods) match.allowed += std::string(m) + ", ";
    match.allowed += "OPTIONS";
    return match;
}

Router::Match Router::find_repaired(std::string_view method, std::string_view path) const {
    Match match = find(method, path);
    const auto found = [&](std::string candidate) {
        if (match.allowed.empty()) match = find(method, candidate);
        return !match.allowed.empty();
    };
    if (found(std::string(path))) return match;
    const std::string tidy = without_extra_slashes(path);
    const auto last_version = tidy.rfind(std::string(kVersion) + "/");
    if (found(tidy) || (last_version != tidy.npos && found(tidy.substr(last_version))) ||
        found(std::string(kVersion) + tidy))
        return match;
    // A base URL that is an endpoint: /v1/chat/completions/chat/completions.
    for (const Route& route : routes_)
        if (tidy.starts_with(route.path + "/") &&
            found(std::string(kVersion) + tidy.substr(route.path.size())))
            return match;
    match = Match();
    match.path = path;
    return match;
}

}  // namespace cachalot::server
