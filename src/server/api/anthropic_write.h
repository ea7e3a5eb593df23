// One answer as Anthropic's Messages API puts it: as server-sent events while it is made, and as one message.
//
//     message_start  (content_block_start  content_block_delta*  content_block_stop)*  message_delta
//                    message_stop
//
// Blocks follow one another, counted from 0; a block ends where an event of another kind begins.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "server/api/answer.h"

namespace cachalot::server {

// Reported numbers of tokens, see anthropic_routes.
struct TokenScale {
    std::int64_t shown = 1, real = 1;
    std::int64_t operator()(std::int64_t tokens) const { return (tokens * shown + real - 1) / real; }
};

class AnthropicAnswer : public Answer {
  public:
    // `id` is the request's; the message has the same. `stream`: whether bytes of one are asked for; without,
    // feed() has none.
    AnthropicAnswer(std::string id, std::string model, bool stream, TokenScale scale = {});

    // The stream begins with this number; how much of the prompt was cached is known later.
    void sized(std::int64_t prompt_tokens) override { usage_.prompt_tokens = prompt_tokens; }
    std::string start() override;
    std::string feed(const Event& event) override;
    std::string keep_alive(const Event& progress) override;
    std::string fail(const ApiError& error) override;
    std::string whole() const override;
    nlohmann::ordered_json error_body(const ApiError& error) const override;

  private:
    enum class Block { thinking, text, tool_use };
    struct Content {
        Block block;
        std::string text;  // tool_use: the input's JSON
        std::string id, name;
    };

    std::string message(const std::string& content) const;
    std::string open(Content content);
    std::string extend(Block block, const std::string& text);
    std::string close();
    std::string finish();
    std::string delta(nlohmann::ordered_json delta) const;
    nlohmann::ordered_json usage() const;
    std::string signature() const;

    const std::string id_, model_;
    const bool stream_;
    const TokenScale scale_;
    Usage usage_;
    std::vector<Content> content_;
    bool open_ = false;  // whether the last of content_ may grow
    nlohmann::ordered_json stop_reason_, stop_sequence_;
};

// The body of an answer that is an error.
nlohmann::ordered_json anthropic_error(const ApiError& error, std::string_view request_id);

}  // namespace cachalot::server
