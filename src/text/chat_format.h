// The chat formats that checkpoints were trained on, and what tells them apart.
//
// V4.1 (September and 1017, which are alike) gives system messages a token of their own, writes the effort as
// a number, spells the tags of calls with a space, and keeps every message at its place. What differs in
// fixed texts is data (prompt_protocol.h); what differs in order is said in prompt_turns.h.
#pragma once

namespace cachalot {

class Tokenizer;

enum class ChatFormat {
    v4_april,  // V4's preview: one text for the effort, of `max`
    v4,        // V4 since 0731: texts for `high` and `max`
    v41,
};

// The format of the tokenizer's model: V4.1 if the vocabulary has the token `<｜System｜>`, else `v4`.
// Files of V4 do not tell its two generations apart, so the caller says which. Throws Error if `v4` is the
// preview and the model is a V4.1.
ChatFormat chat_format_of(const Tokenizer& tokenizer, ChatFormat v4 = ChatFormat::v4);

}  // namespace cachalot
