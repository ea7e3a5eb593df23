#include "server/api/responses_read.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "server/api/answer_forms.h"
#include "server/api/fields.h"
#include "server/api/responses_tools.h"
#include "server/api/thinking.h"
#include "service/conversation_policy.h"
#include "text/chat_json.h"
#include "text/tool_namespace.h"

namespace cachalot::server {
namespace {

constexpr std::int64_t kMaxTopLogprobs = 20;

// `reasoning`: where parts of reasoning go; none: they are text like any other.
std::vector<ContentPart> read_parts(const Field& content, std::string* reasoning = nullptr) {
    std::vector<ContentPart> parts;
    if (!content) return parts;
    if (content.is_string()) return {{"text", content.string()}};
    if (!content.is_array()) content.wrong("a string or an array of parts");
    for (std::size_t i = 0; i < content.size(); ++i) {
        const Field part = content[i];
        const std::string& type = part["type"].string();
        const bool thought = type == "thinking" || type == "reasoning_text" || type == "summary_text";
        if (thought) {
            const std::string& text = part[type == "thinking" ? "thinking" : "text"].string();
            if (reasoning)
                *reasoning += text;
            else
                parts.push_back({"text", text});
        } else if (type == "input_text" || type == "output_text" || type == "text") {
            parts.push_back({"text", part["text"].string()});
        } else if (type == "refusal") {
            parts.push_back({"text", part["refusal"].string()});
        } else {  // "input_image" and the like
            parts.push_back({type.starts_with("input_") ? type.substr(6) : type, {}});
        }
    }
    return parts;
}

std::string joined_texts(const Field& list, std::string_view separator) {
    std::string all;
    for (std::size_t i = 0; list && i < list.size(); ++i) {
        if (i > 0) all += separator;
        all += list[i]["text"].string();
    }
    return all;
}

// Calls of tools that have items of their own, with what stands for their arguments. Their outputs are items
// of the type with "_output" behind it.
struct CallType {
    std::string_view type;
    const char* name;       // of the tool; none: the item says it
    const char* arguments;  // the member that has them
};
constexpr CallType kCallTypes[] = {
    {"function_call", nullptr, "arguments"},          {"custom_tool_call", nullptr, "input"},
    {"local_shell_call", "local_shell", "action"},    {"shell_call", "shell", "action"},
    {"apply_patch_call", "apply_patch", "operation"}, {"tool_search_call", "tool_search", "arguments"},
};

// Items that tell of tools which ran elsewhere, or of what a client keeps for itself.
constexpr std::string_view kSkippedTypes[] = {"web_search_call",       "file_search_call",
                                              "code_interpreter_call", "image_generation_call",
                                              "computer_call",         "computer_call_output",
                                              "mcp_list_tools",        "mcp_approval_request",
                                              "mcp_approval_response", "mcp_call",
                                              "ghost_snapshot",        "item_reference",
                                              "compaction_trigger",    "other"};

// An item of another type may be skipped as long as it does not say anything.
void check_skipped(const Field& item, const std::string& type) {
    if (std::find(std::begin(kSkippedTypes), std::end(kSkippedTypes), type) != std::end(kSkippedTypes))
        return;
    for (const char* name : {"role", "content", "text", "parts", "message", "input", "output", "arguments",
                             "summary", "refusal"})
        if (item[name])
            item["type"].refuse(
                fmt::format("there is no item of the type '{}'; text belongs into the content of a "
                            "message, and parts of one into its list",
                            type.substr(0, 100)));
}

class Items {
  public:
    Items(std::vector<Message>& messages, const ToolSet& tools) : messages_(messages), tools_(tools) {}

    void read(const Field& item) {
        const Field type_field = item["type"];
        if (!type_field && !item["role"]) item.refuse("has neither a type nor a role");
        const std::string type = type_field.string_or("message");
        if (type == "message")
            read_message(item);
        else if (type == "reasoning")
            read_reasoning(item);
        else if (type == "compaction" || type == "compaction_summary")
            item.refuse("only the service that has written it can read it; send the conversation whole");
        else if (!read_call_or_output(item, type))
            check_skipped(item, type);
    }

  private:
    Message& assistant() {
        if (!in_turn_) {
            messages_.emplace_back();
            messages_.back().role = Role::assistant;
            in_turn_ = true;
        }
        return messages_.back();
    }

    void add(Message message) {
        messages_.push_back(std::move(message));
        in_turn_ = false;
    }

    bool read_call_or_output(const Field& item, const std::string& type) {
        for (const CallType& call : kCallTypes) {
            if (type == call.type) return read_call(item, call), true;
            if (type.starts_with(call.type) && type.substr(call.type.size()) == "_output")
                return read_output(item), true;
        }
        return false;
    }

    void read_message(const Field& item) {
        const Field role = item["role"];
        for (const char* name : {"text", "parts"})
            if (const Field text = item[name]) text.refuse("not supported: it belongs into content");
        refuse_own_tools(item);
        if (role.string() == "assistant") {
            Message& turn = assistant();
            std::vector<ContentPart> parts = read_parts(item["content"], &turn.reasoning);
            std::move(parts.begin(), parts.end(), std::back_inserter(turn.content));
            return;
        }
        Message message;
        if (role.string() == "user")
            message.role = Role::user;
        else if (role.string() == "system")
            message.role = Role::system;
        else if (role.string() == "developer")
            message.role = Role::developer;
        else
            role.refuse("expected user, assistant, system or developer");
        message.content = read_parts(item["content"]);
        add(std::move(message));
    }

    // A turn begins with its reasoning. Of the places where it may be, clients keep one or another: Codex
    // drops the content and keeps what it takes for encrypted.
    void read_reasoning(const Field& item) {
        if (in_turn_ && !(messages_.back().content.empty() && messages_.back().tool_calls.empty()))
            in_turn_ = false;
        const std::string kept = item["encrypted_content"].string_or("");
        const std::string content = joined_texts(item["content"], "");
        const std::string summary = joined_texts(item["summary"], "\n\n");
        if (!content.empty())
            assistant().reasoning += content;
        else if (kept.starts_with(kReasoningPrefix))
            assistant().reasoning += kept.substr(kReasoningPrefix.size());
        else
            assistant().reasoning += summary;
    }

    // As the model has made the call, whatever form it has for the client.
    void read_call(const Field& item, const CallType& type) {
        const Field arguments = item[type.arguments];
        ToolCall call{non_empty(item["call_id"]), type.name ? type.name : call_name(item["name"]), {}};
        if (const Field group = item["namespace"]; !type.name) {
            const std::string name_space = group && !group.string().empty() ? call_name(group) : "";
            const auto problem = tools_.format() == ChatFormat::v41
                                     ? problem_of_namespace(call.name, name_space)
                                     : std::string();
            if (!problem.empty()) item["name"].refuse(problem);
            call.name = tools_.prompt_name(call.name, name_space);
        }
        if (type.type == "custom_tool_call")
            call.arguments = custom_arguments(arguments.string_or(""));
        else if (type.name && arguments && !arguments.is_string())
            call.arguments = python_json(arguments.json());
        else
            call.arguments = arguments.string_or("");
        assistant().tool_calls.push_back(std::move(call));
    }

    void read_output(const Field& item) {
        Message message;
        message.role = Role::tool;
        message.tool_call_id = non_empty(item["call_id"]);
        const Field output = item["output"];
        const std::string type = item["type"].string();
        const bool plain = type == "function_call_output" || type == "custom_tool_call_output";
        if (plain || output.is_string())
            message.content = read_parts(output);
        else if (output)  // tools of other forms answer with objects
            message.content = {{"text", python_json(output.json())}};
        add(std::move(message));
    }

    std::vector<Message>& messages_;
    const ToolSet& tools_;
    bool in_turn_ = false;  // whether the last message is the model's turn that the next item may belong to
};

void read_conversation(const Field& body, const ToolSet& tools, std::vector<Message>& messages) {
    if (const Field instructions = body["instructions"])
        messages.push_back(text_message(Role::system, instructions.string()));
    const Field input = body["input"];
    if (input.is_string()) {
        messages.push_back(text_message(Role::user, input.string()));
    } else if (input) {
        if (!input.is_array()) input.wrong("a string or an array of items");
        Items items(messages, tools);
        for (std::size_t i = 0; i < input.size(); ++i) items.read(input[i]);
    }
    // Codex asks with nothing at all to see whether the server is there.
    if (messages.empty()) messages.push_back(text_message(Role::user, ""));
}

ordered_json read_reasoning(const Field& body, ResponsesRequest& result) {
    ordered_json repeated = {{"effort", nullptr}, {"summary", nullptr}};
    read_thinking(body, result.request);
    const Field reasoning = body["reasoning"];
    if (!reasoning.is_object()) return repeated;
    if (const Field effort = reasoning["effort"]) repeated["effort"] = effort.json();
    if (const Field summary = reasoning["summary"]) {
        result.reasoning_summary = summary.string() != "none";
        repeated["summary"] = summary.string();
    }
    return repeated;
}

// Other servers know further members.
void refuse_others(const Field& object, std::initializer_list<std::string_view> known) {
    for (const auto& [name, value] : object.object().items())
        if (!value.is_null() && std::find(known.begin(), known.end(), name) == known.end())
            object.member(name, value)
                .refuse(fmt::format("not supported; there are {}", fmt::join(known, " and ")));
}

// What `text` says besides the answer's form.
ordered_json read_text(const Field& body) {
    ordered_json repeated = {{"format", {{"type", "text"}}}};
    const Field text = body["text"];
    if (!text) return repeated;
    if (const Field format = text["format"]) repeated["format"] = format.json();
    refuse_others(text, {"format", "verbosity"});
    if (const Field verbosity = text["verbosity"]) repeated["verbosity"] = verbosity.string();
    return repeated;
}

bool includes(const Field& list, std::string_view what) {
    bool found = false;
    for (std::size_t i = 0; list && i < list.size(); ++i) found |= list[i].string() == what;
    return found;
}

// What only a server that keeps its answers, or works without a client waiting, can do.
void refuse_stored_state(const Field& body) {
    for (const char* name : {"previous_response_id", "conversation", "prompt"})
        if (const Field field = body[name])
            field.refuse("not supported: responses are not stored, send the whole conversation as input");
    if (const Field background = body["background"]; background && background.boolean())
        background.refuse("not supported");
}

ordered_json string_or_null(const Field& field) {
    return field ? ordered_json(field.string()) : ordered_json();
}

}  // namespace

ResponsesRequest read_responses_request(const ordered_json& json, const ModelInfo& info) {
    const Field body(json);
    ResponsesRequest result;
    Request& request = result.request;
    refuse_stored_state(body);
    check_fields(body, Dialect::responses);
    ResponsesTools tools = read_responses_tools(body["tools"], info.chat.format);
    read_conversation(body, tools.set, request.conversation.messages);
    if (info.remove_client_noise) remove_client_noise(request.conversation);
    request.priority = read_priority(body);
    request.chat = info.chat;
    request.form = read_answer_form(body, Dialect::responses);

    const Field include = body["include"];
    result.encrypted_reasoning = includes(include, "reasoning.encrypted_content");
    const Field top_logprobs = body["top_logprobs"];
    const auto top = static_cast<int>(top_logprobs.integer_or(0, 0, kMaxTopLogprobs));
    if (top > 0 || includes(include, "message.output_text.logprobs")) request.generation.top_logprobs = top;
    result.remembered = body["store"].boolean_or(true);
    result.stream = body["stream"].boolean_or(false);
    request.parallel_tool_calls = body["parallel_tool_calls"].boolean_or(true);
    request.generation.sampling = read_sampling(body, info);
    request.longest_draft = read_longest_draft(body, info);
    const Field max_tokens = body["max_output_tokens"];
    if (const auto limit = read_token_limit(max_tokens, 1)) {
        request.generation.max_tokens = *limit;
        request.max_tokens_given = true;
    }
    const Field metadata = body["metadata"];
    const Field choice = body["tool_choice"];
    read_responses_tool_choice(choice, tools.set, request);
    request.conversation.tools = tools.set.functions();
    result.tools = std::move(tools.set);
    const SamplingOptions& sampling = request.generation.sampling;
    result.repeated = {
        {"model", body["model"].string_or(info.id)},
        {"instructions", string_or_null(body["instructions"])},
        {"max_output_tokens", max_tokens ? max_tokens.json() : ordered_json()},
        {"max_tool_calls", nullptr},
        {"parallel_tool_calls", request.parallel_tool_calls},
        {"previous_response_id", nullptr},
        {"reasoning", read_reasoning(body, result)},
        {"temperature", static_cast<double>(sampling.temperature)},
        {"top_p", static_cast<double>(sampling.top_p)},
        {"presence_penalty", static_cast<double>(sampling.presence_penalty)},
        {"frequency_penalty", static_cast<double>(sampling.frequency_penalty)},
        {"top_logprobs", std::max(request.generation.top_logprobs, 0)},
        {"text", read_text(body)},
        {"tool_choice", choice ? choice.json() : ordered_json("auto")},
        {"tools", std::move(tools.repeated)},
        {"truncation", "disabled"},
        {"background", false},
        {"store", false},
        {"service_tier", "default"},
        {"prompt_cache_key", string_or_null(body["prompt_cache_key"])},
        {"safety_identifier", string_or_null(body["safety_identifier"])},
        {"user", string_or_null(body["user"])},
        {"metadata", metadata ? metadata.object() : ordered_json::object()},
    };
    return result;
}

}  // namespace cachalot::server
