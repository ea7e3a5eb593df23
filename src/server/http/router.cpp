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

// Whether it begins with the segment of a version, "v2/": another API's.
bool is_version(std::string_view path) {
    return path.size() >= 2 && path[0] == 'v' && path[1] >= '0' && path[1] <= '9';
}

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

// A path that exists for other methods only is repaired, too: /v1/responses/responses looks like
// the id of a response.
Router::Match Router::find_repaired(std::string_view method, std::string_view path) const {
    Match first;
    for (const std::string& candidate : candidates(path)) {
        Match match = find(method, candidate);
        if (match.route) return match;
        if (first.allowed.empty()) first = std::move(match);
    }
    if (first.allowed.empty()) first.path = path;
    return first;
}

// What may have been meant by a path, the likeliest first.
std::vector<std::string> Router::candidates(std::string_view path) const {
    constexpr int kMaxPrefix = 8;  // segments
    const std::string tidy = without_extra_slashes(path), version(kVersion);
    std::vector<std::string> all = {std::string(path), tidy};
    const auto last_version = tidy.rfind(version + "/");
    all.push_back(last_version != tidy.npos ? tidy.substr(last_version) : version + tidy);
    // A prefix of its own, as of providers with several dialects: /anthropic/messages.
    std::string_view rest = tidy;
    for (int i = 0; last_version == tidy.npos && i < kMaxPrefix; ++i) {
        const auto slash = rest.find('/', 1);
        if (slash == rest.npos || is_version(rest.substr(1))) break;
        rest.remove_prefix(slash);
        all.push_back(version + std::string(rest));
    }
    // A base URL that is an endpoint: /v1/chat/completions/chat/completions.
    for (const std::string& whole : {tidy, version + tidy})
        for (const Route& route : routes_)
            if (whole.starts_with(route.path + "/")) all.push_back(version + whole.substr(route.path.size()));
    return all;
}

}  // namespace cachalot::server
