// What the model really wrote when it called tools, found again by the ids of the calls.
//
// Clients send the conversation back with every request, but few send back what they were given: reasoning is
// dropped, arguments are parsed and written anew, white space is trimmed. Rendered from that the prompt
// differs from the tokens that the model's state holds, so nothing could be reused, and the model would see
// tool calls that it made without having thought. So the server remembers each turn that called a tool, and
// puts it back when one of its ids returns.
//
// The ids are ours and cannot be guessed, and what one tenant wrote is not found for another. A store on disk
// (turn_store.h) makes it outlive the process.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/chat.h"

namespace cachalot::server {

struct RememberedTurn {
    std::string reasoning, content;
    std::vector<ToolCall> calls;
    // The tokens between the answer's header and its EOS; empty if the turn did not end by itself.
    std::vector<std::int32_t> tokens;
    bool reasoned = false;  // the header ended in `<think>`
};

// Bytes in memory.
std::size_t size_of(const RememberedTurn& turn);

class TurnStore;

// May be used by several threads at once.
class ToolMemory {
  public:
    struct Limits {
        std::size_t turns = 10'000;
        std::size_t bytes = std::size_t{256} << 20;
    };
    // `store`: where turns are kept, too, and looked for that are not in memory; may be null, and must
    // outlive the memory.
    explicit ToolMemory(Limits limits, TurnStore* store = nullptr) : limits_(limits), store_(store) {}

    // Forgets the turns that have not been used for longest if there is no room.
    void remember(const std::string& tenant, RememberedTurn turn);

    using Turn = std::shared_ptr<const RememberedTurn>;
    // Puts back what is remembered of the conversation's assistant messages. If a message still says the same
    // (equal calls in equal order, arguments equal as JSON, the text equal but for white space around it, or
    // left out), it becomes exactly what was written; if the client has changed it, only reasoning that is
    // missing is added. Of messages with the same ids only the first counts. Returns, for each assistant
    // message in order, the turn that it now equals, or null.
    std::vector<Turn> reattach(const std::string& tenant, Conversation& conversation);

    std::size_t turns();

  private:
    struct Entry {
        std::vector<std::string> keys;
        Turn turn;
        std::size_t bytes;
    };

    Turn find(const std::string& tenant, const std::string& id);
    void insert(const std::string& tenant, const Turn& turn);
    void forget_last();

    const Limits limits_;
    TurnStore* const store_;
    std::mutex mutex_;
    std::list<Entry> entries_;  // the last used first
    std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
    std::size_t bytes_ = 0;
};

}  // namespace cachalot::server
