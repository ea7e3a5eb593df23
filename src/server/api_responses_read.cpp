#include "server/api_responses_read.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "server/api_common.h"
#include "server/conversation_policy.h"
#include "text/chat_json.h"

namespace cachalot::server {
namespace {

constexpr std::int64_t kMaxTopLogprobs = 20;

std::string non_empty(const Field& field) {
    if (field.string().empty()) field.refuse("must not be empty");
    return field.string();
}

std::vector<ContentPart> read_parts(const Field& content) {
    std::vector<ContentPart> parts;
    if (!content) return parts;
    if (content.is_string()) return {{"text", content.string()}};
    if (!content.is_array()) content.wrong("a string or an array of parts");
    for (std::size_t i = 0; i < content.size(); ++i) {
        const Field part = content[i];
        const std::string& type = part["type"].string();
        if (type == "input_text" || type == "output_text" || type == "text")
            parts.push_back({"text", part["text"].string()});
        else if (type == "refusal")
            parts.push_back({"text", part["refusal"].string()});
        else  // "input_image" and the like
            parts.push_back({type.starts_with("input_") ? type.substr(6) : type, {}});
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

class Items {
  public:
    explicit Items(std::vector<Message>& messages) : messages_(messages) {}

    void read(const Field& item) {
        const Field type_field = item["type"];
        if (!type_field && !item["role"]) item.refuse("has neither a type nor a role");
        const std::string type = type_field.string_or("message");
        if (type == "message")
            read_message(item);
        else if (type == "reasoning")
            read_reasoning(item);
        else if (type == "function_call")
            add_call({non_empty(item["call_id"]), non_empty(item["name"]), item["arguments"].string_or("")});
        else if (type == "custom_tool_call")
            add_call({non_empty(item["call_id"]), non_empty(item["name"]),
                      python_json({{"input", item["input"].string_or("")}})});
        else if (type == "function_call_output" || type == "custom_tool_call_output")
            read_output(item);
        else if (type == "item_reference")
            item.refuse("references to items need stored responses, which are not supported");
        // Anything else tells of tools that run elsewhere.
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

    void read_message(const Field& item) {
        const Field role = item["role"];
        std::vector<ContentPart> content = read_parts(item["content"]);
        Message message;
        if (role.string() == "assistant") {
            std::vector<ContentPart>& parts = assistant().content;
            std::move(content.begin(), content.end(), std::back_inserter(parts));
            return;
        }
        if (role.string() == "user")
            message.role = Role::user;
        else if (role.string() == "system")
            message.role = Role::system;
        else if (role.string() == "developer")
            message.role = Role::developer;
        else
            role.refuse("expected user, assistant, system or developer");
        message.content = std::move(content);
        add(std::move(message));
    }

    // A turn begins with its reasoning. Of the places where it may be, clients keep one or another: Codex drops the
    // content and keeps what it takes for encrypted.
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

    void add_call(ToolCall call) { assistant().tool_calls.push_back(std::move(call)); }

    void read_output(const Field& item) {
        Message message;
        message.role = Role::tool;
        message.tool_call_id = non_empty(item["call_id"]);
        message.content = read_parts(item["output"]);
        add(std::move(message));
    }

    std::vector<Message>& messages_;
    bool in_turn_ = false;  // whether the last message is the model's turn that the next item may belong to
};

void read_conversation(const Field& body, std::vector<Message>& messages) {
    if (const Field instructions = body["instructions"])
        messages.push_back(text_message(Role::system, instructions.string()));
    const Field input = body["input"];
    if (input.is_string()) {
        messages.push_back(text_message(Role::user, input.string()));
    } else if (input) {
        if (!input.is_array()) input.wrong("a string or an array of items");
        Items items(messages);
        for (std::size_t i = 0; i < input.size(); ++i) items.read(input[i]);
    }
    // Codex asks with nothing at all to see whether the server is there.
    if (messages.empty()) messages.push_back(text_message(Role::user, ""));
}

// Tools that are no functions (Codex lists some that OpenAI runs) are left out.
ordered_json read_tools(const Field& list, std::vector<ordered_json>& functions) {
    ordered_json repeated = ordered_json::array();
    for (std::size_t i = 0; list && i < list.size(); ++i) {
        const Field tool = list[i];
        if (tool["type"].string() != "function") continue;
        const std::string name = non_empty(tool["name"]);
        const Field description = tool["description"], parameters = tool["parameters"];
        ordered_json function = {{"name", name}};
        if (description) function["description"] = description.string();
        function["parameters"] =
            parameters ? ordered_json(parameters.object())
                       : ordered_json{{"type", "object"}, {"properties", ordered_json::object()}};
        repeated.push_back(
            {{"type", "function"},
             {"name", name},
             {"description", description ? ordered_json(description.string()) : ordered_json()},
             {"parameters", function["parameters"]},
             {"strict", tool["strict"].boolean_or(false)}});
        functions.push_back(std::move(function));
    }
    return repeated;
}

void read_tool_choice(const Field& choice, const Field& tools, Request& request) {
    if (!choice) return;
    const std::vector<ordered_json>& functions = request.conversation.tools;
    const bool named = choice.is_object() && choice["type"].string() == "function";
    if (named) {
        const Field name = choice["name"];
        if (std::none_of(functions.begin(), functions.end(),
                         [&](const ordered_json& f) { return f["name"] == name.string(); }))
            name.refuse("there is no function of this name");
        request.tool_choice = ToolChoice::named;
        request.named_tool = name.string();
        return;
    }
    Field mode = choice;
    if (choice.is_object()) {
        if (choice["type"].string() != "allowed_tools") return;  // a tool that was left out
        mode = choice["mode"];
    }
    if (mode.string() == "none") {
        request.tool_choice = ToolChoice::none;
    } else if (mode.string() == "required") {
        if (!tools || tools.size() == 0) mode.refuse("there are no tools");
        if (!functions.empty()) request.tool_choice = ToolChoice::required;
    } else if (mode.string() != "auto") {
        mode.refuse("expected auto, none or required");
    }
}

ordered_json read_reasoning(const Field& body, ResponsesRequest& result) {
    ordered_json repeated = {{"effort", nullptr}, {"summary", nullptr}};
    const Field reasoning = body["reasoning"];
    if (!reasoning) return repeated;
    if (const Field effort = reasoning["effort"]) {
        apply_effort(effort, result.request.chat);
        repeated["effort"] = effort.string();
    }
    if (const Field summary = reasoning["summary"]) {
        result.reasoning_summary = summary.string() != "none";
        repeated["summary"] = summary.string();
    }
    return repeated;
}

ordered_json read_text(const Field& body, Request& request) {
    ordered_json repeated = {{"format", {{"type", "text"}}}};
    const Field text = body["text"];
    if (!text) return repeated;
    if (const Field format = text["format"]) {
        const Field type = format["type"];
        if (type.string() == "json_schema")
            type.refuse("json_schema is not supported; json_object is, with the schema in the instructions");
        if (type.string() != "text" && type.string() != "json_object")
            type.refuse("expected text or json_object");
        request.json_object = type.string() == "json_object";
        repeated["format"]["type"] = type.string();
    }
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
    read_conversation(body, request.conversation.messages);
    if (info.remove_client_noise) remove_client_noise(request.conversation);
    request.priority = read_priority(body);
    request.chat = info.chat;

    const Field include = body["include"];
    result.encrypted_reasoning = includes(include, "reasoning.encrypted_content");
    const Field top_logprobs = body["top_logprobs"];
    if (top_logprobs || includes(include, "message.output_text.logprobs"))
        request.generation.top_logprobs = static_cast<int>(top_logprobs.integer_or(0, 0, kMaxTopLogprobs));
    body["store"].boolean_or(false);
    result.stream = body["stream"].boolean_or(false);
    request.parallel_tool_calls = body["parallel_tool_calls"].boolean_or(true);
    request.generation.sampling = read_sampling(body, info);
    const Field max_tokens = body["max_output_tokens"];
    if (max_tokens) {
        request.generation.max_tokens = max_tokens.integer(1, kMaxTokensLimit);
        request.max_tokens_given = true;
    }
    const Field metadata = body["metadata"];
    ordered_json tools = read_tools(body["tools"], request.conversation.tools);
    read_tool_choice(body["tool_choice"], body["tools"], request);

    const Field choice = body["tool_choice"];
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
        {"text", read_text(body, request)},
        {"tool_choice", choice ? choice.json() : ordered_json("auto")},
        {"tools", std::move(tools)},
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
