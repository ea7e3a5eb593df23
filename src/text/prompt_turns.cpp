// Messages become turns (results of tools are merged into user turns), results are sorted, tools and format
// of the whole conversation find their turn, and V4's old developer messages go.
#include "text/prompt_turns.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"

namespace cachalot {

namespace {

// `known` is set to the number of turns of the messages that are known: the next begins a turn of its own.
std::vector<Turn> merge_messages(const std::vector<Message>& messages, const ChatOptions& options,
                                 std::size_t& known) {
    const bool v41 = options.format == ChatFormat::v41;
    std::vector<Turn> turns;
    for (std::size_t i = 0; i < messages.size(); i++) {
        const Message& message = messages[i];
        if (i == options.known_messages) known = turns.size();
        const bool tool_result = message.role == Role::tool;
        const bool user = message.role == Role::user || (v41 && message.role == Role::developer);
        Block block{message.content, tool_result, message.tool_call_id};
        // A quick task ends its turn for further questions, though not for results.
        const bool joins = (tool_result || user) && turns.size() > known && turns.back().role == Role::user &&
                           (tool_result || !turns.back().task);
        if (joins) {
            turns.back().blocks.push_back(std::move(block));
            if (message.task) turns.back().task = message.task;
            continue;
        }
        const Role role = tool_result || user ? Role::user : message.role;
        const bool late_system = v41 && role == Role::system && !turns.empty();
        turns.push_back({role,
                         role == Role::user || role == Role::developer || late_system,
                         {std::move(block)},
                         message.reasoning,
                         message.tool_calls,
                         message.tools,
                         message.response_format,
                         message.task,
                         message.without_eos});
    }
    return turns;
}

// Tool results arrive in the order in which the tools finished; the model saw them in the order of its calls.
// Results change places among themselves only; one that answers no known call counts as answering the first.
void order_tool_results(std::vector<Turn>& turns) {
    std::map<std::string, std::size_t> order;  // of the latest calls, by id; clients choose those
    const auto rank = [&](const Block& block) {
        const auto found = order.find(block.tool_call_id);
        return found == order.end() ? std::size_t{0} : found->second;
    };
    for (Turn& turn : turns) {
        if (!turn.tool_calls.empty()) {
            order.clear();
            for (std::size_t i = 0; i < turn.tool_calls.size(); i++)
                if (!turn.tool_calls[i].id.empty()) order[turn.tool_calls[i].id] = i;
        }
        std::vector<Block> results;
        for (Block& block : turn.blocks)
            if (block.tool_result) results.push_back(std::move(block));
        std::stable_sort(results.begin(), results.end(),
                         [&](const Block& a, const Block& b) { return rank(a) < rank(b); });
        std::size_t next = 0;
        for (Block& block : turn.blocks)
            if (block.tool_result) block = std::move(results[next++]);
    }
}

// Tools and response format of the whole conversation belong to its first instructions: V4 looks for them
// anywhere, V4.1 at the beginning.
void attach_instructions(Turns& turns, const Conversation& conversation, ChatFormat format) {
    if (conversation.tools.empty() && conversation.response_format.is_null()) return;
    auto& list = turns.list;
    const auto end = format == ChatFormat::v41 ? list.begin() + 1 : list.end();
    auto turn = std::find_if(list.begin(), end, [](const Turn& candidate) {
        return candidate.role == Role::system || candidate.role == Role::developer;
    });
    if (turn == end) {
        Turn system{};
        system.role = Role::system;
        turn = list.insert(list.begin(), std::move(system));
        if (turns.known > 0) turns.known++;
    }
    turn->tools.insert(turn->tools.end(), conversation.tools.begin(), conversation.tools.end());
    if (turn->response_format.is_null()) turn->response_format = conversation.response_format;
}

std::optional<std::size_t> last_question(const std::vector<Turn>& turns) {
    for (std::size_t i = turns.size(); i-- > 0;)
        if (turns[i].asks) return i;
    return std::nullopt;
}

void drop_old_developer_turns(Turns& turns) {
    auto& list = turns.list;
    const std::optional<std::size_t> last = last_question(list);
    if (!last) return;
    const auto old = [](const Turn& turn) { return turn.role == Role::developer; };
    const auto at = [&](std::size_t i) { return list.begin() + static_cast<std::ptrdiff_t>(i); };
    const auto known = std::count_if(at(0), at(std::min(turns.known, *last)), old);
    list.erase(std::remove_if(at(0), at(*last), old), at(*last));
    turns.known -= static_cast<std::size_t>(known);
}

}  // namespace

Turns turns_of(const Conversation& conversation, const ChatOptions& options) {
    const auto& messages = conversation.messages;
    if (messages.empty()) fail("messages: at least one message is needed");
    if (options.known_messages >= messages.size()) fail("messages: all of them are known already");
    Turns turns;
    turns.list = merge_messages(messages, options, turns.known);
    order_tool_results(turns.list);
    turns.drop_thinking = options.thinking && options.drop_thinking && !offers_tools(conversation);
    if (turns.drop_thinking) drop_old_developer_turns(turns);
    attach_instructions(turns, conversation, options.format);
    turns.last = last_question(turns.list);
    return turns;
}

}  // namespace cachalot
