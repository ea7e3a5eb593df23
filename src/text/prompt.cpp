// Three passes: messages become turns (tool results merged into user turns), turns that the model should not
// see again are dropped, turns are written. Each pass sees only the list that the one before left.
#include "text/prompt.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "text/call_arguments.h"
#include "text/chat_json.h"
#include "text/prompt_protocol.h"
#include "text/tool_schema.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

// A stretch of a turn's text.
struct Block {
    std::string text;
    bool tool_result = false;
    std::string tool_call_id;
};

struct Turn {
    Role role;  // never Role::tool
    std::vector<Block> blocks;
    std::string reasoning;
    std::vector<ToolCall> tool_calls;
    std::vector<ordered_json> tools;
    ordered_json response_format;
    std::optional<QuickTask> task;
    bool without_eos = false;

    bool asks() const { return role == Role::user || role == Role::developer; }
};

std::vector<Turn> merge_messages(const std::vector<Message>& messages) {
    std::vector<Turn> turns;
    for (const Message& message : messages) {
        const bool tool_result = message.role == Role::tool;
        Block block{content_text(message.content), tool_result, message.tool_call_id};
        // A quick task ends its turn for further questions, though not for results.
        const bool joins = (tool_result || message.role == Role::user) && !turns.empty() &&
                           turns.back().role == Role::user && (tool_result || !turns.back().task);
        if (joins) {
            turns.back().blocks.push_back(std::move(block));
            if (message.task) turns.back().task = message.task;
            continue;
        }
        turns.push_back({tool_result ? Role::user : message.role,
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

// Tools and response format of the whole conversation belong to its first instructions.
void attach_instructions(std::vector<Turn>& turns, const Conversation& conversation) {
    if (conversation.tools.empty() && conversation.response_format.is_null()) return;
    auto turn = std::find_if(turns.begin(), turns.end(), [](const Turn& candidate) {
        return candidate.role == Role::system || candidate.role == Role::developer;
    });
    if (turn == turns.end()) {
        Turn system{};
        system.role = Role::system;
        turn = turns.insert(turns.begin(), std::move(system));
    }
    turn->tools.insert(turn->tools.end(), conversation.tools.begin(), conversation.tools.end());
    if (turn->response_format.is_null()) turn->response_format = conversation.response_format;
}

// Index of the last user or developer turn.
std::optional<std::size_t> last_question(const std::vector<Turn>& turns) {
    for (std::size_t i = turns.size(); i-- > 0;)
        if (turns[i].asks()) return i;
    return std::nullopt;
}

void drop_old_developer_turns(std::vector<Turn>& turns) {
    const std::optional<std::size_t> last = last_question(turns);
    if (!last) return;
    const auto end = turns.begin() + static_cast<std::ptrdiff_t>(*last);
    turns.erase(
        std::remove_if(turns.begin(), end, [](const Turn& turn) { return turn.role == Role::developer; }),
        end);
}

std::string_view effort_prefix(const ChatOptions& options) {
    if (!options.thinking || options.effort == Effort::low) return "";
    const bool max = options.effort == Effort::max;
    if (options.effort_generation == EffortGeneration::april_preview) return max ? kThoroughEffort : "";
    return max ? kExhaustiveEffort : kThoroughEffort;
}

std::string_view task_token(QuickTask task) {
    switch (task) {
        case QuickTask::action: return "<｜action｜>";
        case QuickTask::query: return "<｜query｜>";
        case QuickTask::authority: return "<｜authority｜>";
        case QuickTask::domain: return "<｜domain｜>";
        case QuickTask::title: return "<｜title｜>";
        case QuickTask::read_url: return "<｜read_url｜>";
    }
    CACHALOT_CHECK(!"a value of QuickTask");
}

class Writer {
  public:
    Writer(const std::vector<Turn>& turns, const ToolSchemas& tools, bool thinking, bool drop_thinking)
        : turns_(turns),
          tools_(tools),
          thinking_(thinking),
          drop_thinking_(drop_thinking),
          last_(last_question(turns)) {}

    Prompt write(std::string_view effort) {
        prompt_.last_user_turn = prompt_.last_answer_header = kNowhere;
        fixed(kBosText);
        fixed(effort);
        for (std::size_t i = 0; i < turns_.size(); i++) write_turn(i);
        prompt_.last_user_turn = std::min(prompt_.last_user_turn, prompt_.parts.size());
        prompt_.last_answer_header = std::min(prompt_.last_answer_header, prompt_.parts.size());
        return std::move(prompt_);
    }

  private:
    static constexpr std::size_t kNowhere = ~std::size_t{0};

    void append(std::string_view text, SpecialTokens mode) {
        if (text.empty()) return;
        if (prompt_.parts.empty() || prompt_.parts.back().mode != mode || marked_) {
            TextPart& part = prompt_.parts.emplace_back();
            part.text = text;
            part.mode = mode;
        } else {
            prompt_.parts.back().text += text;
        }
        marked_ = false;
    }
    void fixed(std::string_view text) { append(text, SpecialTokens::parse); }
    void literal(std::string_view text) { append(text, SpecialTokens::literal); }

    // The index of the part that the next append starts.
    std::size_t mark() {
        marked_ = true;
        return prompt_.parts.size();
    }

    void write_turn(std::size_t i) {
        const Turn& turn = turns_[i];
        if (turn.asks()) {
            if (i == last_) prompt_.last_user_turn = mark();
            fixed(kUserToken);
        }
        if (turn.role == Role::latest_reminder) fixed(kLatestReminderToken);
        if (turn.role == Role::assistant) {
            write_answer(i);
        } else {
            write_blocks(turn);
            write_instructions(turn);
            if (turn.role != Role::latest_reminder) prompt_.continuation = Continuation::nothing;
        }
        const bool answered = i + 1 == turns_.size() || turns_[i + 1].role == Role::assistant ||
                              turns_[i + 1].role == Role::latest_reminder;
        if (answered) write_header(i);
    }

    void write_blocks(const Turn& turn) {
        for (const Block& block : turn.blocks) {
            if (&block != &turn.blocks.front()) fixed("\n\n");
            if (block.tool_result) fixed("<tool_result>");
            literal(block.text);
            if (block.tool_result) fixed("</tool_result>");
        }
    }

    void write_instructions(const Turn& turn) {
        if (!turn.tools.empty()) {
            fixed("\n\n");
            fixed(kToolsBlockStart);
            for (const ordered_json& tool : turn.tools) {
                if (&tool != &turn.tools.front()) fixed("\n");
                literal(python_json(tool));
            }
            fixed(kToolsBlockEnd);
        }
        if (!turn.response_format.is_null()) {
            fixed("\n\n");
            fixed(kResponseFormat);
            literal(python_json(turn.response_format));
        }
    }

    // Whether the turn belongs to the answer in progress, whose reasoning is kept.
    bool keeps_reasoning(std::size_t i) const { return !drop_thinking_ || !last_ || i >= *last_; }

    void write_answer(std::size_t i) {
        const Turn& turn = turns_[i];
        const bool answers_task = i > 0 && turns_[i - 1].task.has_value();
        Prompt::Answer answer{mark(), 0, thinking_ && !answers_task && keeps_reasoning(i)};
        if (answer.reasoned) {
            literal(turn.reasoning);
            fixed(kThinkEnd);
        }
        write_blocks(turn);
        write_tool_calls(turn.tool_calls);
        answer.end = mark();
        prompt_.answers.push_back(answer);
        if (!turn.without_eos) fixed(kEosText);
        prompt_.continuation = turn.without_eos ? Continuation::content : Continuation::nothing;
    }

    void write_tool_calls(const std::vector<ToolCall>& calls) {
        struct Readable {
            const ToolCall& call;
            std::vector<ToolArgument> arguments;
        };
        std::vector<Readable> readable;
        for (const ToolCall& call : calls) {
            auto arguments = arguments_of_history(call.arguments, tools_.find(call.name));
            if (arguments) {
                readable.push_back({call, std::move(*arguments)});
            } else {
                fixed("\n\n");
                literal(call.name + " " + call.arguments);
            }
        }
        if (readable.empty()) return;
        fixed(kCallsStart);
        for (const Readable& one : readable) {
            fixed(kInvokeStart);
            literal(one.call.name);
            fixed(kInvokeNameEnd);
            write_arguments(one.arguments);
            fixed("\n</｜DSML｜invoke>\n");
        }
        fixed("</｜DSML｜tool_calls>");
    }

    void write_arguments(const std::vector<ToolArgument>& arguments) {
        const char* separator = "";
        for (const ToolArgument& argument : arguments) {
            fixed(std::exchange(separator, "\n"));
            fixed("<｜DSML｜parameter name=\"");
            literal(argument.name);
            fixed(argument.is_string ? "\" string=\"true\">" : "\" string=\"false\">");
            literal(argument.value);
            fixed("</｜DSML｜parameter>");
        }
    }

    void write_header(std::size_t i) {
        const Turn& turn = turns_[i];
        if (turn.task && *turn.task != QuickTask::action) {
            fixed(task_token(*turn.task));
            prompt_.continuation = Continuation::content;
            return;
        }
        if (!turn.task && !turn.asks()) return;
        prompt_.last_answer_header = mark();
        fixed(kAssistantToken);
        const bool thinks = thinking_ && (turn.task || keeps_reasoning(i));
        fixed(thinks ? kThinkStart : kThinkEnd);
        prompt_.continuation = thinks ? Continuation::reasoning : Continuation::content;
        if (turn.task) {
            fixed(task_token(*turn.task));
            prompt_.continuation = Continuation::content;  // the answer to a task has no reasoning
        }
    }

    const std::vector<Turn>& turns_;
    const ToolSchemas& tools_;
    const bool thinking_;
    const bool drop_thinking_;
    const std::optional<std::size_t> last_;
    Prompt prompt_;
    bool marked_ = false;
};

}  // namespace

std::string Prompt::text() const {
    std::string all;
    for (const TextPart& part : parts) all += part.text;
    return all;
}

Prompt encode_prompt(const Conversation& conversation, const ChatOptions& options) {
    if (conversation.messages.empty()) fail("messages: at least one message is needed");
    std::vector<Turn> turns = merge_messages(conversation.messages);
    order_tool_results(turns);
    const bool tools =
        !conversation.tools.empty() ||
        std::any_of(turns.begin(), turns.end(), [](const Turn& turn) { return !turn.tools.empty(); });
    const bool drop_thinking = options.thinking && options.drop_thinking && !tools;
    if (drop_thinking) drop_old_developer_turns(turns);
    attach_instructions(turns, conversation);
    return Writer(turns, ToolSchemas(conversation), options.thinking, drop_thinking)
        .write(effort_prefix(options));
}

}  // namespace cachalot
