// The items of the last responses, to be found by their ids.
//
// Clients of the Responses API that do not say `store: false` (Vercel's AI SDK) send what they were given
// before as references. The server keeps nothing for good; it remembers items for a while, so that such a
// client gets through its conversation. What one tenant was given is not found for another.
#pragma once

#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>

namespace cachalot::server {

// May be used by several threads at once.
class AnsweredItems {
  public:
    explicit AnsweredItems(std::size_t max_bytes = std::size_t{64} << 20) : max_bytes_(max_bytes) {}

    // Forgets what has not been asked for the longest if there is no room.
    void remember(const std::string& tenant, const nlohmann::ordered_json& item);

    // Puts the items in the place of the references to them in `body`, a request. Throws ApiError 400 naming
    // the first reference to something that is not known (any more).
    void resolve(const std::string& tenant, nlohmann::ordered_json& body);

    std::size_t bytes();

  private:
    struct Entry {
        std::string key, json;
    };

    const std::size_t max_bytes_;
    std::mutex mutex_;
    std::list<Entry> entries_;  // the last used first
    std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
    std::size_t bytes_ = 0;
};

}  // namespace cachalot::server
