// A conversation as the prompt that DeepSeek V4 was trained on.
//
//     BOS [effort] system text [tools] [response format]
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
#include <string>
#include <vector>

#include "text/chat.h"
#include "text/text_part.h"

namespace cachalot {

enum class Effort { low, high, max };

// How a release was taught to read the effort: the April preview has a prefix for `max` only; since 0731
// `high` has that prefix and `max` a stronger one. `low` adds nothing in either.
enum class EffortGeneration { april_preview, since_0731 };

struct ChatOptions {
    bool thinking = true;
    Effort effort = Effort::low;  // of thinking; nothing without it
    EffortGeneration effort_generation = EffortGeneration::since_0731;
    // Leave out the reasoning before the last user message, and developer messages before it, as the model
    // was trained. Never done if any message carries tools: in tool loops the reasoning is part of the work,
    // and dropping it would change the prompt's beginning at every turn.
    bool drop_thinking = true;
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
    std::size_t last_user_turn = 0;      // starts with `<｜User｜>`
    std::size_t last_answer_header = 0;  // starts with `<｜Assistant｜>`

    // What the assistant messages became, in their order: the parts [begin, end) between the answer's header
    // and its EOS. Whoever remembers the tokens that the model wrote may put them in this place.
    struct Answer {
        std::size_t begin, end;
        bool reasoned;  // begins with reasoning, that is the header ends in `<think>`
    };
    std::vector<Answer> answers;

    Continuation continuation = Continuation::nothing;

    // The concatenation of the parts.
    std::string text() const;
};

// Throws Error if there are no messages. A message's place decides some of its rendering:
// - Tool results become part of a user turn, in the order of the calls they answer, and text that the user
//   adds joins the same turn.
// - The header of an answer follows a user or developer message that is last or precedes an assistant message
//   or a latest_reminder; so a system message between question and answer suppresses the header, as in
//   DeepSeek's encoder.
// - Arguments that are no JSON object are read as those of a model are (text/call_arguments.h): mended, taken
//   out of a wrapper, or as the one parameter of the tool. A call whose arguments cannot be read becomes text
//   of the answer; it never becomes a form that the model should not learn. None at all become no parameter.
Prompt encode_prompt(const Conversation& conversation, const ChatOptions& options = {});

}  // namespace cachalot
