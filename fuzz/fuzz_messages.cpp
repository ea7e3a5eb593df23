// JSON from a client to messages to a prompt: refused with an Error or encoded, never anything else.
//
// Input: one byte of options, then the JSON text.
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/chat_json.h"
#include "text/prompt.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cachalot;
    if (size == 0) return 0;
    ChatOptions options;
    options.thinking = data[0] & 1;
    options.drop_thinking = data[0] & 2;
    options.effort = static_cast<Effort>(kLeastEffort + ((data[0] >> 2) & 15) * 6);
    options.format = static_cast<ChatFormat>((data[0] >> 6) % 3);
    try {
        const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
        const Prompt prompt =
            encode_prompt(conversation_from_json(parse_json(text, "body"), options.format), options);
        CACHALOT_CHECK(prompt.last_user_turn <= prompt.parts.size());
        CACHALOT_CHECK(prompt.last_answer_header <= prompt.parts.size());
        for (const TextPart& part : prompt.parts) CACHALOT_CHECK(!part.text.empty());
    } catch (const Error&) {
    }
    return 0;
}
