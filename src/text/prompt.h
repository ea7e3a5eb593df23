// A conversation as the prompt that DeepSeek V4 or V4.1 was trained on (chat_format.h).
//
//     BOS [<｜System｜>] [effort] system text [tools] [response format]
//     <｜User｜>question<｜Assistant｜><think>reasoning</think>answer EOS
//     <｜User｜>question<｜Assistant｜><think>                              generation starts here
//
// What may steer the model. Only the template is `parse`: role tokens, think tags, the tools block with its
// `｜DSML｜`, the DSML tags around a rendered tool call. Everything that came in with the conversation is
// `literal`: user text and tool results, but also names and values of tool arguments, tool schemas, earlier
// answers and reasoning (the client sent them back and could have edited them), and the system text:
// operators paste documents and agents paste file listings into it. A literal `<｜User｜>` reads as those
// eight characters.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "text/chat.h"
#include "text/chat_format.h"
#include "text/effort.h"
#include "text/text_part.h"

namespace cachalot {

struct ChatOptions {
    bool thinking = true;
    std::optional<Effort> effort;  // of thinking, nothing without it; none: the format's default
    ChatFormat format = ChatFormat::v4;
    // Leave out the reasoning before the last question, and V4's developer messages before it, as the model
    // was trained. Never done if any message carries tools: in tool loops the reasoning is part of the work,
    // and dropping it would change the prompt's beginning at every turn.
    bool drop_thinking = true;
    // The model has read the prompt of so many messages, which decide how the others are written, and are not
    // written again.
    std::size_t known_messages = 0;
    bool bos = true;  // begin with BOS, unless messages are known
};

// What the model writes first after the prompt.
enum class Continuation {
    nothing,    // the conversation ends with a finished answer, or with no message that asks for one
    reasoning,  // then "</think>" and the content
    content,
};

struct Prompt {
    // Tokenise as one text; adjacent parts differ in mode except at the marks below.
    std::vector<TextPart> parts;

    // Marks, as indices into `parts`; parts.size() if there is no such place. What lies before a mark is what
    // the next prompts of this conversation may share: everything before the last user turn stays as it is,
    // while the header of the last answer may turn from `<think>` into `</think>` when the next question
    // drops the reasoning.
    std::size_t last_user_turn = 0;      // starts with `<｜User｜>`, or V4.1's `<｜System｜>`
    std::size_t last_answer_header = 0;  // starts with `<｜Assistant｜>`

    // What the assistant messages became, in their order: the parts [begin, end) between the answer's header
    // and its EOS. Whoever remembers the tokens that the model wrote may put them in this place.
    struct Answer {
        std::size_t begin, end;
        bool reasoned;  // begins with reasoning, that is the header ends in `<think>`
    };
    std::vector<Answer> answers;

    // What the placeholders of images stand for, in their order (ContentPart::image).
    std::vector<nlohmann::ordered_json> images;

    Continuation continuation = Continuation::nothing;

    // The concatenation of the parts.
    std::string text() const;
};

// Throws Error if there are no messages, or none that are not known. A message's place decides some of its
// rendering:
// - Tool results become part of a user turn, in the order of the calls they answer, and text that the user
//   adds joins the same turn.
// - The header of an answer follows a question (Turn::asks) that is last or precedes an assistant message or
//   a latest_reminder; so in V4 a system message between question and answer suppresses the header, as in
//   DeepSeek's encoder.
// - Arguments that are no JSON object: V4.1 was trained to see them as a parameter `arguments`. For V4 they
//   are read as those of a model are (text/call_arguments.h): mended, taken out of a wrapper, or as the one
//   parameter of the tool; a call whose arguments cannot be read becomes text of the answer, never a form
//   that the model should not learn. None at all become no parameter.
Prompt encode_prompt(const Conversation& conversation, const ChatOptions& options = {});

}  // namespace cachalot
