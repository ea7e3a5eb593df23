// One answer as OpenAI's Responses API puts it: as server-sent events while it is made, and as one response
// object.
//
//     response.created  response.in_progress
//       output_item.added
//         reasoning   content_part.added  reasoning_text.delta*  reasoning_text.done  content_part.done
//                 or  reasoning_summary_part.added  reasoning_summary_text.delta* .done
//                     reasoning_summary_part.done
//         message     content_part.added  output_text.delta*  output_text.done  content_part.done
//         call        function_call_arguments.delta*  function_call_arguments.done
//                 or  custom_tool_call_input.delta*  custom_tool_call_input.done
//       output_item.done
//     response.completed | response.incomplete | error, response.failed
//
// Each event carries a sequence_number, and those about an item its output_index. An item ends where the next
// begins: a call that the limit on tokens cut short looks complete until the end of the answer is known, and
// clients run a call as soon as its item is done.
//
// Reasoning is content of its item (as with open models) unless the request asks for a summary, which is then
// the reasoning itself: clients like Codex show summaries only.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "server/api/answer.h"
#include "server/api/custom_input.h"
#include "server/api/tools.h"

namespace cachalot::server {

struct ResponsesAnswerOptions {
    bool stream = false;  // whether events are asked for; without, feed() has none
    nlohmann::ordered_json repeated =
        nlohmann::ordered_json::object();  // fields of the response that repeat the request
    bool reasoning_summary = false;
    bool encrypted_reasoning = false;
    ToolSet tools = ToolSet();
    // Told each item of a complete answer. May be empty.
    std::function<void(const nlohmann::ordered_json& item)> remember = {};
    // The text of one token, for log-probabilities.
    std::function<std::string(std::int32_t)> token_text = {};
};

class ResponsesAnswer : public Answer {
  public:
    // `token` makes the ids: "resp_{token}", "msg_{token}_0", ... `created` is in seconds since 1970.
    ResponsesAnswer(std::string token, std::int64_t created, ResponsesAnswerOptions options);

    std::string start() override;
    std::string feed(const Event& event) override;
    std::string keep_alive(const Event& progress) override;
    std::string fail(const ApiError& error) override;
    std::string whole() const override { return dump(response()); }
    nlohmann::ordered_json error_body(const ApiError& error) const override;
    bool fails_in_stream(const ApiError& error) const override;

  private:
    nlohmann::ordered_json response() const;

    enum class Kind { reasoning, message, call, custom_call };
    struct Item {
        Kind kind;
        std::string text;  // call: the arguments; custom_call: the input
        std::string call_id, name, name_space;
        CustomInput input = {};
        const char* status = "in_progress";
        nlohmann::ordered_json logprobs = nlohmann::ordered_json::array();
    };

    void emit(std::string_view type, nlohmann::ordered_json fields);
    void emit_for_item(std::string_view type, nlohmann::ordered_json fields);
    void open(Item item);
    void open_call(const Event& event);
    void extend_call(const Event& event);
    void extend_input(Item& item, const std::string& text);
    void extend(Kind kind, const Event& event);
    void close(const char* status);
    void emit_done(const Item& item);
    void finish(const Usage& usage);

    bool is_open() const;
    std::string item_id(std::size_t index) const;
    nlohmann::ordered_json item_json(std::size_t index, bool with_parts) const;
    nlohmann::ordered_json part(const Item& item, const std::string& text) const;
    nlohmann::ordered_json logprobs(const Event& event) const;

    std::string token_;
    std::int64_t created_;
    ResponsesAnswerOptions options_;
    std::vector<Item> items_;
    std::string bytes_;  // not yet returned
    std::int64_t sequence_ = 0;
    const char* status_ = "in_progress";
    nlohmann::ordered_json completed_, error_, incomplete_, usage_;
};

// An error in OpenAI's shape, with the code and the field by which Codex recognises a full context.
nlohmann::ordered_json responses_error(const ApiError& error);

}  // namespace cachalot::server
