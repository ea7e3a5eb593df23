// Turns (prompt_turns.h) are written one after the other, each followed by the header of the answer to it.
#include "text/prompt.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "text/call_arguments.h"
#include "text/chat_json.h"
#include "text/prompt_protocol.h"
#include "text/prompt_turns.h"
#include "text/tool_schema.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

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
    Writer(const Turns& turns, const ToolSchemas& tools, const ChatOptions& options)
        : turns_(turns.list),
          tools_(tools),
          options_(options),
          protocol_(protocol_of(options.format)),
          known_(turns.known),
          drop_thinking_(turns.drop_thinking),
          last_(turns.last) {}

    Prompt write() {
        prompt_.last_user_turn = prompt_.last_answer_header = kNowhere;
        if (known_ == 0) write_beginning();
        for (std::size_t i = known_; i < turns_.size(); i++) write_turn(i);
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

    void write_beginning() {
        if (options_.bos) fixed(kBosText);
        if (options_.thinking || turns_.front().role == Role::system) fixed(protocol_.system);
        if (!options_.thinking) return;
        fixed(effort_text(options_.effort.value_or(default_effort(options_.format)), options_.format));
    }

    void write_turn(std::size_t i) {
        const Turn& turn = turns_[i];
        if (turn.asks && i == last_) prompt_.last_user_turn = mark();
        if (turn.role == Role::user || turn.role == Role::developer) fixed(kUserToken);
        if (turn.role == Role::system && i > 0) fixed(protocol_.system);
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
            write_content(block.content, turn.role == Role::user && !block.tool_result);
            if (block.tool_result) fixed("</tool_result>");
        }
    }

    // What is neither text nor an image is named to the model; V4.1 is told of it in questions only.
    void write_content(const std::vector<ContentPart>& content, bool question) {
        const bool named = question || options_.format != ChatFormat::v41;
        bool first = true;
        for (const ContentPart& part : content) {
            const bool image = !part.image.is_null();
            if (part.type != "text" && !image && !named) continue;
            if (!std::exchange(first, false)) literal("\n\n");
            if (image) {
                fixed(kImageToken);
                prompt_.images.push_back(part.image);
            } else {
                literal(part_text(part));
            }
        }
    }

    void write_instructions(const Turn& turn) {
        if (!turn.tools.empty()) {
            fixed("\n\n");
            fixed(protocol_.tools_start);
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
        Prompt::Answer answer{mark(), 0, options_.thinking && !answers_task && keeps_reasoning(i)};
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

    std::optional<std::vector<ToolArgument>> arguments_of(const ToolCall& call) const {
        return options_.format == ChatFormat::v41
                   ? arguments_or_text(call.arguments)
                   : arguments_of_history(call.arguments, tools_.find(call.name));
    }

    void write_tool_calls(const std::vector<ToolCall>& calls) {
        struct Readable {
            const ToolCall& call;
            std::vector<ToolArgument> arguments;
        };
        std::vector<Readable> readable;
        for (const ToolCall& call : calls) {
            auto arguments = arguments_of(call);
            if (arguments) {
                readable.push_back({call, std::move(*arguments)});
            } else {
                fixed("\n\n");
                literal(call.name + " " + call.arguments);
            }
        }
        if (readable.empty()) return;
        fixed(protocol_.calls_start);
        for (const Readable& one : readable) {
            if (&one != &readable.front()) fixed("\n");
            fixed(protocol_.invoke_start);
            literal(one.call.name);
            fixed(kInvokeNameEnd);
            write_arguments(one.arguments);
            fixed("\n");
            fixed(protocol_.invoke_end);
        }
        fixed("\n");
        fixed(protocol_.calls_end);
    }

    void write_arguments(const std::vector<ToolArgument>& arguments) {
        const char* separator = "";
        for (const ToolArgument& argument : arguments) {
            fixed(std::exchange(separator, "\n"));
            fixed(protocol_.parameter_start);
            literal(argument.name);
            fixed(argument.is_string ? "\" string=\"true\">" : "\" string=\"false\">");
            literal(argument.value);
            fixed(protocol_.parameter_end);
        }
    }

    void write_header(std::size_t i) {
        const Turn& turn = turns_[i];
        if (turn.task && *turn.task != QuickTask::action) {
            fixed(task_token(*turn.task));
            prompt_.continuation = Continuation::content;
            return;
        }
        if (!turn.task && !turn.asks) return;
        prompt_.last_answer_header = mark();
        fixed(kAssistantToken);
        const bool thinks = options_.thinking && (turn.task || keeps_reasoning(i));
        fixed(thinks ? kThinkStart : kThinkEnd);
        prompt_.continuation = thinks ? Continuation::reasoning : Continuation::content;
        if (turn.task) {
            fixed(task_token(*turn.task));
            prompt_.continuation = Continuation::content;  // the answer to a task has no reasoning
        }
    }

    const std::vector<Turn>& turns_;
    const ToolSchemas& tools_;
    const ChatOptions& options_;
    const ChatProtocol& protocol_;
    const std::size_t known_;
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
    const Turns turns = turns_of(conversation, options);
    return Writer(turns, ToolSchemas(conversation), options).write();
}

}  // namespace cachalot
