// Who may talk to the server: host names, origins, keys. Pure decisions; connection.cpp asks them in this
// order.
//
// - The Host header must be one of ours. A web page can make its own name resolve to 127.0.0.1 and then read
//   our answers as its own (DNS rebinding); it cannot make the browser send another Host than that name.
// - A request that carries a foreign Origin comes from a web page. Unless that origin is allowed it is
//   refused, since even without reading the answer it could keep the model busy. Origins are never combined
//   with credentials.
// - The key, if any is configured, comes as "Authorization: Bearer KEY" or "x-api-key: KEY".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cachalot::server {

class HostList {
  public:
    // Always allows localhost, 127.0.0.1 and [::1]. A name has no port; "*" allows every name.
    void allow(std::string_view name);

    // Whether a Host header is allowed, whatever its port. `local_address` is the address that the connection
    // came in on: a client that names it has not been fooled by a resolver.
    bool allows(std::string_view host, std::string_view local_address = {}) const;

  private:
    std::vector<std::string> names_ = {"localhost", "127.0.0.1", "::1"};
    bool any_ = false;
};

class Cors {
  public:
    void allow(std::string_view origin);  // "https://chat.example:8443", or "*"
    bool enabled() const { return any_ || !origins_.empty(); }

    // What Access-Control-Allow-Origin shall say; nothing if the origin is not allowed.
    std::optional<std::string> allows(std::string_view origin) const;

  private:
    std::vector<std::string> origins_;
    bool any_ = false;
};

// Whether a page of this origin was served under the same Host (name and port).
bool same_origin(std::string_view origin, std::string_view host);

class ApiKeys {
  public:
    // "NAME=KEY" or "KEY", whose name then is "key-1", "key-2", ... Names consist of letters, digits, '.',
    // '_' and '-'. Throws Error for an empty key or one with characters that no header can carry.
    void add(std::string_view line);
    // One key per line; empty lines and those starting with '#' are skipped. Throws Error naming file and
    // line.
    void add_file(const std::string& path);

    // A line as add() takes it, in two: the name, empty if there is none, and the key. Throws as add() does.
    static std::pair<std::string, std::string> split(std::string_view line);

    bool empty() const { return keys_.empty(); }

    // The name of the key; nothing if there is none like it. Takes the same time for every wrong key of one
    // length.
    std::optional<std::string> find(std::string_view key) const;

    // The same for the two headers' values; either may carry the key.
    std::optional<std::string> find(std::string_view authorization, std::string_view x_api_key) const;

  private:
    struct Key {
        std::string name, value;
    };
    std::vector<Key> keys_;
};

}  // namespace cachalot::server
