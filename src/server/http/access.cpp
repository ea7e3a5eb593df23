#include "server/http/access.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/error.h"
#include "file/text_file.h"

namespace cachalot::server {
namespace {

std::string_view trim(std::string_view text) {
    auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    return text;
}

// "Name:8080" -> "name", "[::1]:8080" -> "::1". Nothing for what is neither.
std::optional<std::string> host_name(std::string_view host) {
    std::string_view name = host, port;
    if (host.starts_with('[')) {
        auto end = host.find(']');
        if (end == std::string_view::npos) return std::nullopt;
        name = host.substr(1, end - 1);
        port = host.substr(end + 1);
    } else if (auto colon = host.find(':'); colon != std::string_view::npos) {
        name = host.substr(0, colon);
        port = host.substr(colon);
    }
    if (!port.empty() && (port.front() != ':' || port.size() > 6 ||
                          port.find_first_not_of("0123456789", 1) != std::string_view::npos))
        return std::nullopt;
    if (name.ends_with('.')) name.remove_suffix(1);  // a name's root may be spelt out
    if (name.empty()) return std::nullopt;
    return lower(name);
}

bool is_name(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '_' || c == '-';
    });
}

// Compares without stopping at the first difference; the time depends on the length of `presented` only.
bool equal_in_constant_time(std::string_view presented, std::string_view key) {
    volatile unsigned difference = presented.size() == key.size() ? 0u : 1u;
    for (std::size_t i = 0; i < presented.size(); ++i)
        difference = difference | static_cast<unsigned char>(presented[i] ^ key[i % key.size()]);
    return difference == 0;
}

}  // namespace

void HostList::allow(std::string_view name) {
    name = trim(name);
    if (name == "*") {
        any_ = true;
        return;
    }
    if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
    if (!name.empty()) names_.push_back(lower(name));
}

bool HostList::allows(std::string_view host, std::string_view local_address) const {
    auto name = host_name(host);
    if (!name) return false;
    return any_ || std::find(names_.begin(), names_.end(), *name) != names_.end() ||
           (!local_address.empty() && *name == local_address);
}

void Cors::allow(std::string_view origin) {
    origin = trim(origin);
    if (origin == "*") {
        any_ = true;
        return;
    }
    if (origin.ends_with('/')) origin.remove_suffix(1);
    if (origin.find("://") == std::string_view::npos)
        fail("{} is not an origin such as https://chat.example, nor *", origin);
    origins_.push_back(lower(origin));
}

std::optional<std::string> Cors::allows(std::string_view origin) const {
    if (any_) return "*";
    if (std::find(origins_.begin(), origins_.end(), lower(origin)) != origins_.end())
        return std::string(origin);
    return std::nullopt;
}

bool same_origin(std::string_view origin, std::string_view host) {
    auto scheme = origin.find("://");
    return scheme != std::string_view::npos && lower(origin.substr(scheme + 3)) == lower(host);
}

std::pair<std::string, std::string> ApiKeys::split(std::string_view line) {
    line = trim(line);
    std::string name;
    // A key may end in '=', as base64 does; what follows the '=' of a name is neither empty nor another '='.
    auto equals = line.find('=');
    if (equals != std::string_view::npos && equals + 1 < line.size() && line[equals + 1] != '=' &&
        is_name(line.substr(0, equals))) {
        name = line.substr(0, equals);
        line.remove_prefix(equals + 1);
    }
    if (line.empty()) fail("an API key is empty");
    if (std::any_of(line.begin(), line.end(), [](char c) { return c <= ' ' || c > '~'; }))
        fail("the API key{}{} has a blank or a character outside ASCII, which a header cannot carry",
             name.empty() ? "" : " ", name);
    return {std::move(name), std::string(line)};
}

void ApiKeys::add(std::string_view line) {
    auto [name, key] = split(line);
    if (name.empty()) name = fmt::format("key-{}", keys_.size() + 1);
    keys_.push_back({std::move(name), std::move(key)});
}

void ApiKeys::add_file(const std::string& path) {
    std::string text = read_text_input(path);
    std::size_t number = 0;
    for (std::size_t begin = 0; begin < text.size();) {
        auto end = std::min(text.find('\n', begin), text.size());
        auto line = trim(std::string_view(text).substr(begin, end - begin));
        begin = end + 1;
        ++number;
        if (line.empty() || line.front() == '#') continue;
        try {
            add(line);
        } catch (const Error& e) {
            fail("{}: line {}: {}", path, number, e.what());
        }
    }
    if (keys_.empty()) fail("{}: no API key in this file", path);
}

std::optional<std::string> ApiKeys::find(std::string_view key) const {
    const Key* found = nullptr;
    for (const Key& candidate : keys_)
        if (equal_in_constant_time(key, candidate.value)) found = &candidate;
    if (!found) return std::nullopt;
    return found->name;
}

std::optional<std::string> ApiKeys::find(std::string_view authorization, std::string_view x_api_key) const {
    std::string_view bearer;
    if (lower(authorization.substr(0, 7)) == "bearer ") bearer = trim(authorization.substr(7));
    auto first = find(bearer), second = find(trim(x_api_key));
    return first ? first : second;
}

}  // namespace cachalot::server
