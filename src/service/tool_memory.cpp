#include "service/tool_memory.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "service/turn_store.h"
#include "text/chat_json.h"

namespace cachalot::server {
namespace {

// A tenant's name contains no NUL: it comes from an HTTP header or the configuration.
std::string key_of(const std::string& tenant, const std::string& id) { return tenant + '\0' + id; }

std::string_view trimmed(std::string_view text) {
    auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// Equal as JSON, whatever the order of keys and the white space.
bool same_arguments(const std::string& a, const std::string& b) {
    if (trimmed(a) == trimmed(b)) return true;
    try {
        nlohmann::json left = parse_json(a, "arguments"), right = parse_json(b, "arguments");
        return left == right;
    } catch (const Error&) {
        return false;
    }
}

bool same_turn(const Message& message, const RememberedTurn& turn) {
    auto text = content_text(message.content);
    if (!trimmed(text).empty() && trimmed(text) != trimmed(turn.content)) return false;
    return std::equal(message.tool_calls.begin(), message.tool_calls.end(), turn.calls.begin(),
                      turn.calls.end(), [](const ToolCall& a, const ToolCall& b) {
                          return a.id == b.id && a.name == b.name && same_arguments(a.arguments, b.arguments);
                      });
}

}  // namespace

std::size_t size_of(const RememberedTurn& turn) {
    std::size_t bytes = sizeof turn + turn.reasoning.size() + turn.content.size() +
                        turn.tokens.size() * sizeof turn.tokens.front();
    for (const auto& call : turn.calls)
        bytes += sizeof call + 2 * call.id.size() + call.name.size() + call.arguments.size();
    return bytes;
}

void ToolMemory::remember(const std::string& tenant, RememberedTurn turn) {
    if (turn.calls.empty()) return;
    const auto shared = std::make_shared<const RememberedTurn>(std::move(turn));
    insert(tenant, shared);
    if (store_) store_->store(tenant, shared);
}

void ToolMemory::insert(const std::string& tenant, const Turn& turn) {
    auto bytes = size_of(*turn);
    if (bytes > limits_.bytes || limits_.turns == 0) return;
    std::lock_guard lock(mutex_);
    if (by_key_.contains(key_of(tenant, turn->calls.front().id))) return;  // somebody else found it, too
    while (bytes_ + bytes > limits_.bytes || entries_.size() >= limits_.turns) forget_last();
    Entry entry{{}, turn, bytes};
    for (const auto& call : entry.turn->calls) entry.keys.push_back(key_of(tenant, call.id));
    entries_.push_front(std::move(entry));
    bytes_ += bytes;
    for (const auto& key : entries_.front().keys) by_key_[key] = entries_.begin();
}

void ToolMemory::forget_last() {
    for (const auto& key : entries_.back().keys) by_key_.erase(key);
    bytes_ -= entries_.back().bytes;
    entries_.pop_back();
}

ToolMemory::Turn ToolMemory::find(const std::string& tenant, const std::string& id) {
    {
        std::lock_guard lock(mutex_);
        if (auto found = by_key_.find(key_of(tenant, id)); found != by_key_.end()) {
            entries_.splice(entries_.begin(), entries_, found->second);
            return entries_.front().turn;
        }
    }
    auto turn = store_ ? store_->find(tenant, id) : nullptr;
    if (turn) insert(tenant, turn);
    return turn;
}

// The ids of a turn's calls are its own: whatever has one of them again is no other turn. So each turn is put
// back, and compared, once, however often its ids are repeated, and what a conversation grows by is what
// there is to remember.
std::vector<ToolMemory::Turn> ToolMemory::reattach(const std::string& tenant, Conversation& conversation) {
    std::vector<Turn> turns;
    std::unordered_set<std::string_view> seen;  // ids, of the conversation or of turns that `found` keeps
    std::vector<Turn> found;
    for (auto& message : conversation.messages) {
        if (message.role != Role::assistant) continue;
        Turn turn;
        for (const auto& call : message.tool_calls)
            if (!call.id.empty() && !seen.contains(call.id) && (turn = find(tenant, call.id))) break;
        if (turn) {
            found.push_back(turn);
            for (const auto& call : turn->calls) seen.insert(call.id);
        }
        if (turn && same_turn(message, *turn)) {
            message.reasoning = turn->reasoning;
            message.content = {{"text", turn->content}};
            message.tool_calls = turn->calls;
        } else {
            if (turn && message.reasoning.empty()) message.reasoning = turn->reasoning;
            turn = nullptr;
        }
        turns.push_back(std::move(turn));
    }
    return turns;
}

std::size_t ToolMemory::turns() {
    std::lock_guard lock(mutex_);
    return entries_.size();
}

}  // namespace cachalot::server
