#include "server/api/answered_items.h"

#include "server/api/common.h"

namespace cachalot::server {
namespace {

constexpr std::size_t kOverhead = 256;  // of an entry beside its texts

// A tenant's name contains no NUL: it comes from an HTTP header or the configuration.
std::string key_of(const std::string& tenant, const std::string& id) { return tenant + '\0' + id; }

std::size_t size_of(const std::string& key, const std::string& json) {
    return 2 * key.size() + json.size() + kOverhead;
}

}  // namespace

void AnsweredItems::remember(const std::string& tenant, const ordered_json& item) {
    Entry entry{key_of(tenant, item.at("id").get<std::string>()), dump(item)};
    const auto size = size_of(entry.key, entry.json);
    if (size > max_bytes_) return;
    std::lock_guard lock(mutex_);
    if (by_key_.contains(entry.key)) return;
    while (bytes_ + size > max_bytes_) {
        bytes_ -= size_of(entries_.back().key, entries_.back().json);
        by_key_.erase(entries_.back().key);
        entries_.pop_back();
    }
    entries_.push_front(std::move(entry));
    by_key_[entries_.front().key] = entries_.begin();
    bytes_ += size;
}

void AnsweredItems::resolve(const std::string& tenant, ordered_json& body) {
    const auto input = body.find("input");
    if (input == body.end() || !input->is_array()) return;
    for (std::size_t i = 0; i < input->size(); ++i) {
        auto& item = (*input)[i];
        if (!item.is_object() || item.value("type", ordered_json()) != "item_reference") continue;
        const Field reference(item, fmt::format("input[{}]", i));
        const auto key = key_of(tenant, reference["id"].string());
        std::lock_guard lock(mutex_);
        const auto found = by_key_.find(key);
        if (found == by_key_.end())
            reference.refuse(
                "this item is not known (any more): items are remembered for a while only; send it whole");
        entries_.splice(entries_.begin(), entries_, found->second);
        item = ordered_json::parse(entries_.front().json);
    }
}

std::size_t AnsweredItems::bytes() {
    std::lock_guard lock(mutex_);
    return bytes_;
}

}  // namespace cachalot::server
